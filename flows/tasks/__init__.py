"""A person's hand: tasks added, adapters pinned, banned and noted, verdicts told.

Knows: what a person may say to a home. Does not know: stages.
"""
