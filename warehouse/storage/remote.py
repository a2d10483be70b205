"""Storage behind a URL: S3 and its like through pyarrow, anything else that fsspec knows.

Knows: clients by URL, the cache of what was read, how a refusal is told. Does not know: what files mean.

A file is put in one piece, which S3 shows whole or not at all. It is read once: a copy in the cache counts as long as
the storage's listing gives the same size and time, so that a whole folder costs one listing, a request a thousand
files. The cache may be deleted at any time. Credentials come from the machine (AWS_… in the environment, a role),
never from the URL.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from catalog.errors import SettingError, StorageError
from catalog.tasks.task import content_hash
from warehouse.storage.files import write_atomically
from warehouse.storage.storage import Stamp, Storage

READERS = 16  # files fetched at a time
PAUSES = (1.0, 3.0, 9.0, 27.0)  # seconds before an unreachable storage is asked again; clients try for moments only
_SECOND_NS = 10**9
_IN_ONE_PIECE = ("s3", "gcs", "abfs")  # an object is there whole or not at all; elsewhere it is moved into place

_Answer = TypeVar("_Answer")


def connect(url: str, cache: Path) -> RemoteStorage:
    """The storage at a URL. Raises SettingError or StorageError where there is none."""
    try:
        files, root = _client(url)
        lost = files.type_name in _IN_ONE_PIECE and _lacks_bucket(files, root)
    except (OSError, pa.ArrowException) as error:
        raise _told(error, url, "opened") from error
    if lost:
        raise StorageError(f"{url} is in a bucket that does not exist.", "Make it, or mend LORAUTER_STORAGE.")
    return RemoteStorage(url.partition("?")[0], cache / content_hash([url], 12), files, root)


@dataclass(frozen=True)
class RemoteStorage(Storage):
    """A folder behind a URL. `folder` holds copies; `files` and `root` are the client and the folder's name to it."""

    url: str
    folder: Path
    files: Any
    root: str

    def sub(self, name: str) -> RemoteStorage:
        """A folder of it."""
        return RemoteStorage(f"{self.url}/{name}", self.folder / name, self.files, f"{self.root}/{name}")

    def address(self, name: str) -> str:
        """The URL of a file."""
        return f"{self.url}/{name}"

    def names(self, folder: str = "") -> set[str]:
        """Names of the files of a folder."""
        return set(self._stamps(folder))

    def folders(self, folder: str = "") -> set[str]:
        """Names of the folders in a folder."""
        return {info.base_name for info in self._listed(folder) if info.type == fs.FileType.Directory}

    def stamps(self) -> dict[str, Stamp]:
        """The files at the top, and when each was last written."""
        return self._stamps("")

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that exist: a request each, side by side."""
        listed = list(names)
        paths = [f"{self.root}/{name}" for name in listed]
        infos = _patiently(lambda: self.files.get_file_info(paths), self.url, "read")
        return {name for name, info in zip(listed, infos, strict=True) if info.type == fs.FileType.File}

    def put(self, name: str, write: Callable[[Path], None]) -> None:
        """Fill a file here, then send it in one piece: a process that is killed on the way leaves nothing there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as scratch:
            part = Path(scratch) / "part"
            write(part)
            self._send(name, part.read_bytes())

    def touch(self, name: str) -> None:
        """Write a small file. Its size changes too: not every server tells a time, or tells it finely."""
        self._send(name, b"." * random.randint(1, 1000))

    def local(self, name: str) -> Path:
        """The copy of a file, fetched if need be."""
        path = f"{self.root}/{name}"
        info = _patiently(lambda: self.files.get_file_info(path), self.address(name), "read")
        if info.type != fs.FileType.File:
            raise FileNotFoundError(self.address(name))
        return self._copy(name, _stamp(info))

    def locals(self, folder: str) -> list[Path]:
        """Copies of all files of a folder, by name, those fetched that are not here as they are there."""
        stamps = sorted(self._stamps(folder).items())
        lacking = [
            (f"{folder}/{name}", stamp) for name, stamp in stamps if not self._has_copy(f"{folder}/{name}", stamp)
        ]
        if lacking:
            with ThreadPoolExecutor(min(READERS, len(lacking))) as pool:
                list(pool.map(lambda one: self._copy(*one), lacking))
        return [self.folder / folder / name for name, _ in stamps]

    def delete(self, name: str) -> None:
        """Delete a file and its copy; it may have gone before."""
        (self.folder / name).unlink(missing_ok=True)

        def delete() -> None:
            with suppress(FileNotFoundError):
                self.files.delete_file(f"{self.root}/{name}")

        _patiently(delete, self.address(name), "deleted")

    def _stamps(self, folder: str) -> dict[str, Stamp]:
        return {info.base_name: _stamp(info) for info in self._listed(folder) if info.type == fs.FileType.File}

    def _listed(self, folder: str) -> list[Any]:
        chosen = fs.FileSelector(f"{self.root}/{folder}".rstrip("/"), allow_not_found=True)
        return _patiently(lambda: list(self.files.get_file_info(chosen)), self.address(folder).rstrip("/"), "listed")

    def _send(self, name: str, content: bytes) -> None:
        whole = self.files.type_name in _IN_ONE_PIECE
        send = self._write if whole else self._write_beside
        _patiently(lambda: send(f"{self.root}/{name}", content), self.address(name), "written")

    def _write(self, path: str, content: bytes) -> None:
        with self.files.open_output_stream(path) as stream:
            stream.write(content)

    def _write_beside(self, path: str, content: bytes) -> None:
        folder, _, last = path.rpartition("/")
        beside = f"{folder}/.{last}.{uuid4().hex}.part"
        self.files.create_dir(folder, recursive=True)
        self._write(beside, content)
        self.files.move(beside, path)

    def _has_copy(self, name: str, stamp: Stamp) -> bool:
        try:
            state = (self.folder / name).stat()
        except FileNotFoundError:
            return False
        return Stamp(state.st_size, state.st_mtime_ns) == stamp

    def _copy(self, name: str, stamp: Stamp) -> Path:
        """The copy of a file that is there with this size and time."""
        path = self.folder / name
        if not self._has_copy(name, stamp):
            write_atomically(path, lambda part: self._fetch(name, stamp, part))
        return path

    def _fetch(self, name: str, stamp: Stamp, part: Path) -> None:
        def read() -> bytes:
            with self.files.open_input_stream(f"{self.root}/{name}") as stream:
                content = bytes(stream.read())
            if len(content) != stamp.size:
                raise OSError("it was written again while it was read")
            return content

        part.write_bytes(_patiently(read, self.address(name), "read"))
        os.utime(part, ns=(stamp.changed_ns, stamp.changed_ns))


def _stamp(info: Any) -> Stamp:
    """Cut to whole seconds: some servers tell the time of one file finer in a listing than by itself."""
    return Stamp(int(info.size), int(info.mtime_ns or 0) // _SECOND_NS * _SECOND_NS)


def _client(url: str) -> tuple[Any, str]:
    """A client for a URL, and the folder's name to it."""
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        # A small file is then one request in place of three.
        url += f"{'&' if '?' in url else '?'}allow_delayed_open=true"
    try:
        files, root = fs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        files, root = _fsspec_client(url)
    return files, root.rstrip("/")


def _fsspec_client(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        client, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SettingError(f"{url} cannot be opened: {error}.", "Use a folder or s3://bucket/prefix.") from error
    return fs.PyFileSystem(fs.FSSpecHandler(client)), str(root)


def _lacks_bucket(files: Any, root: str) -> bool:
    """Whether the bucket is known not to exist: a listing of it would look empty."""
    try:
        return bool(files.get_file_info(root.partition("/")[0]).type == fs.FileType.NotFound)
    except OSError as error:
        if _is_refusal(str(error)):  # one may be allowed to use a folder of a bucket and not to ask about the bucket
            return False
        raise


def _patiently(ask: Callable[[], _Answer], url: str, what: str) -> _Answer:
    """The answer, asked for again for a while where the storage cannot be reached."""
    pauses = iter(PAUSES)
    while True:
        try:
            return ask()
        except (OSError, pa.ArrowException) as error:
            pause = next(pauses, None)
            if pause is None or not _is_outage(str(error)):
                raise _told(error, url, what) from error
        time.sleep(pause)


def _told(error: Exception, url: str, what: str) -> StorageError:
    """A failure of the storage: the URL, the cause, the next step."""
    return StorageError(f"{url} cannot be {what} ({str(error)[:300]}).", _next_step(str(error).upper()))


_REFUSED = (
    "ACCESS_DENIED",
    "ACCESSDENIED",
    "INVALID_ACCESS_KEY",
    "INVALIDACCESSKEY",
    "SIGNATURE",
    "CREDENTIAL",
    "HTTP STATUS 403",
)
_UNREACHED = ("NETWORK_CONNECTION", "COULD NOT CONNECT", "TIMED OUT", "RESOLVE", "SLOW_DOWN", "HTTP STATUS 50")


def _is_refusal(said: str) -> bool:
    return any(word in said.upper() for word in _REFUSED)


def _is_outage(said: str) -> bool:
    return any(word in said.upper() for word in _UNREACHED)


def _next_step(said: str) -> str:
    if _is_refusal(said):
        return (
            "See that this machine's credentials (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or its role) are "
            "right and may list, read, write and delete there."
        )
    if "BUCKET" in said and any(word in said for word in ("NO_SUCH", "NOT EXIST", "NOT FOUND")):
        return "Make the bucket, or mend LORAUTER_STORAGE."
    if _is_outage(said):
        return "See that its address (AWS_ENDPOINT_URL, where it is not Amazon's) answers here; then run it again."
    return "See that LORAUTER_STORAGE is right and the storage answers; then run it again: what is finished is kept."
