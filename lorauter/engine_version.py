"""The engine's version, where a ledger can read it without loading the engine. Knows nothing else."""

ENGINE_VERSION = "3"
"""Raised whenever a change may alter a text; old scores then count as another engine's."""
