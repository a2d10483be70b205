"""What adapters, tasks and scores are, and the rules that admit an adapter to the catalog.

Knows: the words of the field as frozen records, pure parsing and judging, and how to ask a hub.
Does not know: tables, model weights in memory, flows. Imports nothing else of this project.
"""
