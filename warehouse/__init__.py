"""DuckDB and Parquet: the ledger of everything seen, snapshots of the curated catalog, SQL over both.

Knows: tables, files, atomic writes. Does not know: hubs, models, flows. Parquet is the truth.
"""
