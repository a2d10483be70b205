"""How Prefect runs here: set up without a server, shown to those who watch, kept from secrets.

Knows: Prefect. Does not know: stages.
"""
