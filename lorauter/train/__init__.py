"""Training: what is made from labelled texts. LoRA adapters, clusters of tasks, a gate's calibration.

Knows: optimisation and examples. Does not know: hubs, snapshots.
"""
