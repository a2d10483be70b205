"""The stage `fit`: what routers and gates learn on a published catalog.

Knows: which states there are, which belong to a catalog, when one is trained. Does not know: how (lorauter/train).
"""
