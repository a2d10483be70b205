"""Opening a storage: a folder, or what lies behind a URL.

Knows: which setting means which storage. Does not know: how a URL is checked (warehouse/storage/url).
"""

from __future__ import annotations

from pathlib import Path

from warehouse.storage.storage import FolderStorage, Storage
from warehouse.storage.url import is_url


def open_storage(where: str, cache: Path) -> Storage:
    """The storage that a checked setting names; copies of the files of a remote one lie in `cache`.

    Raises SettingError or StorageError where the URL leads to no storage.
    """
    if not is_url(where):
        return FolderStorage(Path(where))
    from warehouse.storage.remote import connect  # pyarrow's clients take a moment to load

    return connect(where, cache)
