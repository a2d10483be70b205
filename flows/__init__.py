"""Programs: Prefect flows, the command line, the demo, the mirror, the report.

Knows: the order of things, settings, what a person sees. Does not know: algorithms; those live below.
"""
