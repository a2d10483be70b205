"""Bases: the models that adapters are made for, under all their names, and the modules they have.

Knows: ids, copies, kinds, modules. Does not know: which adapters are admitted.
"""
