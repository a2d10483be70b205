"""Tasks: examples, answers, and the metrics that hold one against the other.

Knows: what a task is and what an answer is worth. Does not know: files, engines.
"""
