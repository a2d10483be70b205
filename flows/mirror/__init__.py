"""A mirror: serves a folder of repos, or repos made up for a benchmark, with the Hub's routes, headers and limits.

Knows: what the Hub answers, and how it fails. Does not know: the crawl, the ledger. Imported only where it is used.
"""
