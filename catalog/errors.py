"""The errors a person may meet. Each says what happened and what to do next.

    LorauterError
    ├── SettingError        a setting, option or argument is wrong
    ├── HubError            the hub could not be reached, refused us, or answered nonsense
    │   ├── HubDown         nobody answers there, or our token is refused: no other request will go well either
    │   ├── HubTrouble      this request may go well later: the hub, its file host or the way there is in trouble
    │   └── HubRefusal      the hub will not give this one thing: says which kind of refusal it is
    ├── TaskError           a task file is wrong: names the file, the line and the field
    ├── SnapshotError       a published catalog is missing, incomplete or damaged
    ├── PluginError         what a package brings by an entry point cannot be used
    ├── PublishRefused      the catalog would be much worse than the published one
    ├── UnsupportedAdapter  the engine cannot serve this adapter exactly, and says which feature
    ├── StorageError        the storage that machines share cannot be reached, or refuses us
    └── DiskError           no room, no right to write, or a file that cannot be read

Knows: causes and next steps. Does not know: how they are printed (flows/cli).
"""

from __future__ import annotations

from typing import Literal


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


class HubTrouble(HubError):
    """The hub, its file host or the way to them is in trouble; the same request may go well later."""


Refused = Literal["unseen", "missing", "gated", "disabled", "withheld", "gone", "no_file", "refused"]


class HubRefusal(HubError):
    """The hub will not give this one thing; other requests may go well.

    Args:
        kind: "unseen" (401 without a token: missing, private or gated, the hub does not say which), "missing" (no such
            repo for us), "gated" (not granted to us), "disabled" (by the hub), "withheld" (451, for legal reasons),
            "gone" (410), "no_file" (no such file or revision), "refused" (any other answer that will stay).
    """

    def __init__(self, cause: str, next_step: str = "", kind: Refused = "refused") -> None:
        super().__init__(cause, next_step)
        self.kind = kind


class TaskError(LorauterError):
    """A task file is wrong."""


class SnapshotError(LorauterError):
    """A published catalog is missing, incomplete or damaged."""


class PluginError(LorauterError):
    """What a package brings by an entry point cannot be used; names the package and the entry point."""


class PublishRefused(LorauterError):
    """The catalog would be much worse than the published one; nothing was published."""


class UnsupportedAdapter(LorauterError):
    """The engine cannot serve this adapter exactly; the cause names the feature."""


class StorageError(LorauterError):
    """The storage that machines share cannot be reached, or refuses us."""


class DiskError(LorauterError):
    """No room on the disk, no right to write there, or a file that cannot be read."""
