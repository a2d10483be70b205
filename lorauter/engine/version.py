"""The engine's versions, where a ledger can read it without loading the engine. Knows nothing else."""

ENGINE_VERSION = "3"
"""Raised whenever a change may alter a text; old scores then count as another engine's."""

SERVING_VERSION = f"{ENGINE_VERSION}.1"
"""Its last number is raised whenever the engine may serve what it refused, all texts being as they were. What another
version could not run is then tried again."""
