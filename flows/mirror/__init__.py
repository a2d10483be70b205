"""A mirror: serves a folder of repos with the Hub's own routes, headers and limits.

Knows: what the Hub answers. Does not know: adapters, the crawl, the ledger. Imported only where it is used.
"""
