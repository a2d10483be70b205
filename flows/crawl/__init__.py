"""The stage `crawl`: listings of a hub into the ledger.

Knows: targets, passes, repos that went. Does not know: what an adapter is.
"""
