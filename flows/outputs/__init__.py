"""Outputs: shards of wanted answers, run here, as Prefect's tasks, or on workers.

Knows: plans and where shards run. Does not know: what outputs are for.
"""
