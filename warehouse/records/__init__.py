"""Records: rows of the ledger as typed values, in and out.

Knows: which fields a row has and what they mean. Does not know: how rows come about.
"""
