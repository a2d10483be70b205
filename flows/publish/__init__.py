"""The stage `publish`: scores and verdicts as a snapshot.

Knows: the snapshot's rows. Does not know: how scores come about.
"""
