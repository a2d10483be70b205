"""Adapters on this disk: PEFT folders read, checked, and held against a base.

Knows: config, header, pairs A and B. Does not know: batches, routes, hubs.
"""
