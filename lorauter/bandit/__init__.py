"""The bandit: which adapters stay resident and which one answers, learned from scores as they come (POLAR).

Knows: contexts as vectors, arms by number, costs of loads, caches. Does not know: texts, encoders, adapters' files,
the bank, who gives the scores.
"""
