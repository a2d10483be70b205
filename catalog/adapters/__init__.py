"""Adapters: what a repo says of one, as frozen records, from bytes a hub sent.

Knows: configs, headers, names, cards. Does not know: hubs, bases' modules, what is admitted. Makes no request.
"""
