"""Plugins: what installed packages bring by an entry point, beside what is built in.

    [project.entry-points."lorauter.routers"]
    shared_words = "shared_words:shared_words"

Knows: groups of entry points, names, how a package that cannot be used is told. Does not know: what a router, a gate, a
composition, a metric or a strategy is.

A built-in name never looks at packages. Their metadata is read once, when a name is asked that is not built in or when
all names are listed; a package's code is imported when its own name is used. So a package that is broken breaks its own
names and no other.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from threading import Timer
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

from catalog.errors import LorauterError, PluginError, SettingError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LOG = logging.getLogger(__name__)
Named = TypeVar("Named")


SLOW = 10.0
"""Seconds after which an import that still runs is told."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a package's name comes from, for whoever has to mend it.

    Args:
        place: kind, name, package and entry point, as a sentence begins.
        package: what pip calls it.
    """

    place: str
    package: str

    def fault(self, what: str) -> PluginError:
        """The error that says what the package does wrong."""
        return PluginError(
            f"{self.place} {what}.",
            f"Update the package or mend it, or uninstall it: pip uninstall {self.package}.",
        )

    @contextmanager
    def blamed(self, doing: str = "fails") -> Iterator[None]:
        """Whatever the package's code raises becomes its fault; errors for people pass as they are."""
        try:
            yield
        except LorauterError:
            raise
        except (Exception, SystemExit) as error:  # whatever a package may raise: a script at its top level exits
            raise self.fault(f"{doing} ({type(error).__name__}: {error})") from error


class Registry(Mapping[str, Named]):
    """Names with what each stands for: the built-in ones first, then those that packages bring, by name.

    Looking a name up imports the package that brings it. It raises PluginError where that package does not load, brings
    something else, or is not the only one.

    Args:
        group: of entry points, such as "lorauter.routers".
        kind: what a name stands for, in a word: "router".
        built_in: the names that need no package.
        wanted: what a package has to bring, in words: "a function of RouterParts".
        fits: whether an object is that.
        also: further names that stand before packages'. They may come from packages too, as gates among routers.
        reserved: names that mean something else where a name is asked.
        guarded: makes of what a package brings the same with its results checked, so that a fault names the package.
    """

    def __init__(
        self,
        group: str,
        kind: str,
        built_in: Mapping[str, Named],
        wanted: str,
        fits: Callable[[object], bool] = callable,
        also: Mapping[str, Named] = MappingProxyType({}),
        reserved: Collection[str] = (),
        guarded: Callable[[Named, Origin], Named] = lambda brought, _origin: brought,
    ) -> None:
        self.group, self.kind, self.built_in = group, kind, MappingProxyType({**built_in})
        self._wanted, self._fits, self._also, self._reserved = wanted, fits, also, reserved
        self._guarded = guarded
        self._kept: dict[str, Named] = {}  # what packages brought, once it was asked

    def __getitem__(self, name: str) -> Named:
        if name in self.built_in:
            return self.built_in[name]
        if name in self._also:
            return self._also[name]
        if name not in self._kept:
            self._kept[name] = self._loaded(name)
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._also or name in self._brought

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.built_in, *self._also, *self._brought)))

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def check(self, name: str, others: Sequence[str] = ()) -> None:
        """Raise SettingError where there is no such name, with those there are; `others` are known beside them."""
        if name not in others and name not in self:
            raise SettingError(f"There is no {self.kind} {name!r}.", f"Choose one of: {', '.join((*self, *others))}.")

    def working(self) -> Iterator[tuple[str, Named]]:
        """Names with what they stand for; what does not load is told and left out."""
        for name in self:
            try:
                yield name, self[name]
            except PluginError as error:
                LOG.warning("%s", error)

    def package(self, name: str) -> str:
        """The package that brings a name and its version, "tiny-routers 1.0"; "" for a name that needs none."""
        if name in self.built_in or name not in self._brought:
            return ""
        return _package(self._brought[name][0])

    def check_package(self, name: str, package: str) -> None:
        """Raise SettingError where a name is not brought by the package, of the version, that it was planned with.

        Args:
            name: as it was planned.
            package: as `package` said where it was planned.
        """
        here = self.package(name)
        if here != package:
            instead = f"brought by {here}" if here else "built in" if name in self.built_in else "not installed"
            raise SettingError(
                f"The {self.kind} {name!r} was planned as {package or 'lorauter'} brings it, and is {instead} here.",
                "Install the same packages, of the same versions, on every machine.",
            )

    @property
    def brought(self) -> tuple[str, ...]:
        """The names that packages bring."""
        return tuple(self._brought)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why entry points are passed over: their name is taken. Told as a warning too, when they are first met."""
        return tuple(self._entries[1])

    @property
    def _brought(self) -> Mapping[str, list[EntryPoint]]:
        return self._entries[0]

    @cached_property
    def _entries(self) -> tuple[dict[str, list[EntryPoint]], list[str]]:
        """Packages' entry points by name, and what is wrong with those that are passed over."""
        from importlib.metadata import entry_points  # a twentieth of a second: not for built-in names

        brought: dict[str, list[EntryPoint]] = {}
        faults = []
        for entry in sorted(entry_points(group=self.group), key=lambda entry: (entry.name, _package(entry))):
            if entry.name in self.built_in or entry.name in self._also or entry.name in self._reserved:
                faults.append(
                    f"{self._place(entry)} is passed over: something else has that name. Its author must "
                    f"choose another, or uninstall it: pip uninstall {_package(entry).partition(' ')[0]}."
                )
                LOG.warning("%s", faults[-1])
            else:
                brought.setdefault(entry.name, []).append(entry)
        return brought, faults

    def _place(self, entry: EntryPoint) -> str:
        return f"The {self.kind} {entry.name!r} of {_package(entry)} (entry point {entry.value})"

    def _loaded(self, name: str) -> Named:
        entries = self._brought[name]
        if len(entries) > 1:
            packages = " and ".join(_package(entry) for entry in entries)
            raise PluginError(f"{packages} both bring a {self.kind} {name!r}.", "Uninstall all but one of them.")
        entry = entries[0]
        origin = Origin(self._place(entry), _package(entry).partition(" ")[0])
        with _told_if_slow(origin), origin.blamed("does not load"), redirect_stdout(sys.stderr):
            brought = entry.load()  # what it prints is no part of our own output
        if not self._fits(brought):
            raise PluginError(
                f"{self._place(entry)} is of type {type(brought).__name__} and not {self._wanted}.",
                f"Its author must name {self._wanted} in the group {self.group}.",
            )
        return self._guarded(cast("Named", brought), origin)


@contextmanager
def _told_if_slow(origin: Origin) -> Iterator[None]:
    """A package whose import hangs is named while it does; Ctrl-C ends it."""
    told = f"{origin.place} is still being imported after {SLOW:g} s. Ctrl-C ends it; pip uninstall {origin.package}."
    timer = Timer(SLOW, LOG.warning, [told])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def names_brought(*groups: str) -> tuple[str, ...]:
    """The names in packages' metadata, for help: no package is imported, no name is looked up."""
    from importlib.metadata import entry_points

    return tuple(dict.fromkeys(sorted(entry.name for group in groups for entry in entry_points(group=group))))


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without metadata"
