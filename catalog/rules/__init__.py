"""Rules: which adapters a catalog admits, one named reason each.

Knows: facts, bases, the policy. Does not know: where facts come from, where verdicts are kept.
"""
