"""The bank: adapters held beside a frozen base, and what they add to a module's output.

Knows: tables, slots, products. Does not know: tokens, decoding, routes.
"""
