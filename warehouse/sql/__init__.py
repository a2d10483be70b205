"""SQL over a home: views of the published snapshot and tables of the ledger in one DuckDB.

Knows: names and sessions. Does not know: how results are shown.
"""
