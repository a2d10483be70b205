"""Plans: outputs still to be made, cut into shards, and the signs of life of those who make them.

Knows: rows, shards, heartbeats. Does not know: engines, tasks, routers.
"""
