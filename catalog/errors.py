"""The errors a person may meet. Each says what happened and what to do next.

    LorauterError
    ├── SettingError        a setting, option or argument is wrong
    ├── HubError            the hub could not be reached, refused us, or answered nonsense
    │   └── HubDown         nobody answers there, or our token is refused: no other request will go well either
    ├── TaskError           a task file is wrong: names the file, the line and the field
    ├── SnapshotError       a published catalog is missing, incomplete or damaged
    ├── PublishRefused      the catalog would be much worse than the published one
    ├── UnsupportedAdapter  the engine cannot serve this adapter exactly, and says which feature
    ├── StorageError        the storage that machines share cannot be reached, or refuses us
    └── DiskError           no room, or no right to write

Knows: causes and next steps. Does not know: how they are printed (flows/cli).
"""

from __future__ import annotations


class LorauterError(Exception):
    """Base of all errors meant for a person: a cause, and the next step.

    Args:
        cause: what happened, naming the file, field or address.
        next_step: what to do about it, as an instruction.
    """

    def __init__(self, cause: str, next_step: str = "") -> None:
        super().__init__(f"{cause} {next_step}".strip())
        self.cause = cause
        self.next_step = next_step


class SettingError(LorauterError):
    """A setting, option or argument is wrong."""


class HubError(LorauterError):
    """The hub could not be reached, refused us, or answered nonsense."""


class HubDown(HubError):
    """Nobody answers at the hub, or it refuses our token: no other request will go well either."""


class TaskError(LorauterError):
    """A task file is wrong."""


class SnapshotError(LorauterError):
    """A published catalog is missing, incomplete or damaged."""


class PublishRefused(LorauterError):
    """The catalog would be much worse than the published one; nothing was published."""


class UnsupportedAdapter(LorauterError):
    """The engine cannot serve this adapter exactly; the cause names the feature."""


class StorageError(LorauterError):
    """The storage that machines share cannot be reached, or refuses us."""


class DiskError(LorauterError):
    """No room on the disk, or no right to write there."""
