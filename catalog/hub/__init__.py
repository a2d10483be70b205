"""The hub: every request that is made of one, and every bound on what comes back.

The only room that imports huggingface_hub. Knows: routes, budgets, bodies, errors. Does not know: what makes an
adapter good, where facts are kept.
"""
