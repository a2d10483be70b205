"""Schemas: every table, declared once.

Knows: columns, their meanings, units and sources. Does not know: rows.
"""
