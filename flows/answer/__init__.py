"""Answers to queries: routed, prompted, answered, or handed to another engine.

Knows: chunks of queries. Does not know: how a router weighs, how an engine answers.
"""
