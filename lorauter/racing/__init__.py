"""Racing: which adapter is best for a task, found with few evaluations.

Knows: races, rungs, strategies. Does not know: how an evaluation is made, where rows are kept.
"""
