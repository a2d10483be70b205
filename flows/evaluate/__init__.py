"""Evaluation: routers and compositions on held-back test items.

Knows: systems, items, figures. Does not know: how a router weighs.
"""
