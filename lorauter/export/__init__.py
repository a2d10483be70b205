"""Export: a batch's routes and adapters as requests to other engines, vLLM and LoRAX.

Knows: which adapters such an engine has to load, and the bodies of its requests. Does not know: the network; nothing
is sent. See docs/export.md.
"""
