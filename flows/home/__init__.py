"""The home: settings, folders, and the parts that are opened from them.

Knows: where everything of one installation lies. Does not know: stages.
"""
