"""Schemas: every table, declared once.

Knows: columns, their meanings, units and sources. Does not know: rows.

    columns    what all declarations are made of
    ledger     the ledger's tables, and plans
    snapshot   a snapshot's tables
    answers    the tables that commands write as files
"""
