"""The page: a snapshot as one HTML file that asks nothing of any network.

The numbers come from the queries in sql/, one file each; the drawings are Vega-Lite's, from charts/; text, style and
behaviour lie in assets/.
"""
