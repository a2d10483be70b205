"""Snapshots: the curated catalog frozen into immutable folders, their history and their views.

Knows: folders, manifests, the pointer. Does not know: how scores come about.
"""
