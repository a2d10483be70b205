"""Tasks as files: the task folder, and readers of other layouts.

Knows: files, rows, splits, checks. Does not know: how tasks are scored or routed to.
"""
