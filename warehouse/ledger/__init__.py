"""The ledger: append-only fragments of everything ever seen.

Knows: fragments, partitions, compaction, migrations. Does not know: what a row is used for.
"""
