"""Trained state: what a router or a gate has learned, as two files that travel with a snapshot.

Knows: the files and their identity, what a state stands on and when it is refused. Does not know: how anything is
trained (lorauter/train), where states lie (flows/fit). Loads no torch.
"""
