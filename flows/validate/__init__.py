"""The stage `validate`: reads, verdicts, downloads, checks.

Knows: the order of rules and reads. Does not know: the rules (catalog/rules).
"""
