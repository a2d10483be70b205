"""Fit: the states that routers and gates learn on a published catalog, trained where none is stored yet.

Knows: when a state is trained, which facts it gets, where a killed training goes on. Does not know: how anything is
trained (lorauter/train), how a snapshot takes it in (warehouse/snapshots).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from flows.fit.states import ENDINGS, FACTS, States
from flows.screen.progress import say, stage
from lorauter.train.fit import SECONDS, CatalogFacts, FitParts, grounds_of
from lorauter.train.fits import FITS, check_fits
from lorauter.trained.grounds import differences
from lorauter.trained.state import TrainedState, read_facts
from warehouse.snapshots.manifest import TRAINED
from warehouse.snapshots.snapshot import Snapshot, with_trained


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What is trained, and how.

    Args:
        routers: names of `lorauter.train.fits.FITS`.
        seconds: most of one training.
        seed: of all draws.
        again: train even where a state is stored.

    Raises:
        SettingError: a router that is not trained.
    """

    routers: tuple[str, ...]
    seconds: float
    seed: int = 0
    again: bool = False

    def __post_init__(self) -> None:
        check_fits(self.routers)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A state that is stored.

    Args:
        router: whose it is.
        name: of its files, without an ending.
        new: whether it was trained now.
    """

    router: str
    name: str
    new: bool


@dataclass(frozen=True, slots=True)
class FitDone:
    """What a fit came to.

    Args:
        snapshot: the one that holds the states, and is published.
        told: a line a state, for a person.
    """

    snapshot: Snapshot
    told: tuple[str, ...]


def fit_routers(
    parts: Callable[[], FitParts],
    published: CatalogFacts,
    states: States,
    begun: Path,
    options: FitOptions,
    held: Collection[str] = (),
) -> list[Fitted]:
    """The states of some routers on a catalog, trained where they are not stored. Killed, it goes on where it was.

    Args:
        parts: gives what to train from, where anything is trained.
        published: what the states shall belong to, its training splits' hash among it.
        states: where they are kept.
        begun: folder of checkpoints.
        options: what is trained, and how.
        held: names of the states that the catalog holds; of two that belong these stay.

    Raises:
        SettingError: the catalog does not suffice to train one.
    """
    fitted = []
    for router in options.routers:
        grounds = grounds_of(FITS[router], published)
        known = None if options.again else states.known(grounds, options.seed, held)
        if known is None:
            folder = begun / f"{router}-{grounds.key}-{options.seed}"
            name = states.keep(_trained(router, parts(), published, folder, options))
            shutil.rmtree(folder, ignore_errors=True)
            fitted.append(Fitted(router, name, True))
        else:
            fitted.append(Fitted(router, known, False))
    return fitted


def belonging(
    published: CatalogFacts, states: States, routers: Sequence[str], seed: int, before: Snapshot | None
) -> dict[str, Path]:
    """Files of the states that belong to a catalog that is being published; nothing is trained.

    A person is told of states that belong no more, and that nothing trains anew.

    Args:
        routers: whose stored state is taken.
        seed: of those.
        before: the snapshot whose states of other routers stay as long as they belong.
    """
    files: dict[str, Path] = {}
    taken = set()
    there = before.trained if before else []
    for router in routers:
        if name := states.known(grounds_of(FITS[router], published), seed, {path.stem for path in there}):
            files |= states.files(name)
            taken.add(router)
    for path in there:
        router, facts = path.stem.rpartition("-")[0], read_facts(path)
        if router not in FITS or router in taken or facts.get("base") != published.index.base:
            continue
        if others := differences(facts, grounds_of(FITS[router], published)):
            if router not in routers:
                say(f"{router}: its trained state {_of_others(router, others)}")
        else:
            files |= _both(path)
    return files


def _of_others(router: str, others: Sequence[str]) -> str:
    """The end of what a person is told of a state that belongs to another catalog."""
    return f"belongs to {' and '.join(others)}, and is not published. Train it again: lorauter fit {router}."


def still_belong(fitted: Sequence[Fitted], published: CatalogFacts, states: States) -> list[Fitted]:
    """Of some states those that belong to a catalog that came while they were trained; of the others a person is told.

    Args:
        fitted: the states.
        published: the catalog that is current now.
        states: where they are kept.
    """
    belong = []
    for one in fitted:
        facts = read_facts(states.files(one.name)[f"{one.name}{FACTS}"])
        if others := differences(facts, grounds_of(FITS[one.router], published)):
            say(f"{one.router}: another catalog came meanwhile; the state {_of_others(one.router, others)}")
        else:
            belong.append(one)
    return belong


def publish_fitted(root: Path, snapshot: Snapshot, base: str, fitted: Sequence[Fitted], states: States) -> Snapshot:
    """The snapshot with these states, published; itself where it holds them. A router has one state of a base.

    Args:
        root: folder of all snapshots.
        snapshot: the current one.
        base: whose states they are.
        fitted: the states.
        states: where they are kept.
    """
    replaced = {one.router for one in fitted}
    files: dict[str, Path] = {}
    for path in snapshot.trained:
        facts = read_facts(path)
        if not (facts.get("base") == base and facts.get("router") in replaced):
            files |= _both(path)
    for one in fitted:
        files |= states.files(one.name)
    there = {path.name for path in (snapshot.folder / TRAINED).glob("*")}
    return snapshot if there == files.keys() else with_trained(root, snapshot, files)


def told(fitted: Sequence[Fitted], states: States) -> list[str]:
    """A line a state, for a person."""
    return [_told(one, states) for one in fitted]


def _told(one: Fitted, states: States) -> str:
    if not one.new:
        return f"{one.router}: trained before ({one.name})"
    weights, facts = (states.files(one.name)[f"{one.name}{ending}"] for ending in ENDINGS)
    seconds, size = states.took(one.name).get("seconds"), weights.stat().st_size / 1e6
    ended = read_facts(facts)
    spent = f" in {seconds:.1f} s" if seconds is not None else ""
    return f"{one.router}: trained{spent}, {ended.get('steps')} steps, {size:.1f} MB ({one.name})"


def _both(path: Path) -> dict[str, Path]:
    """The two files of a state by its facts' file, by name."""
    return {(file := path.with_suffix(ending)).name: file for ending in ENDINGS}


def _trained(router: str, parts: FitParts, published: CatalogFacts, folder: Path, options: FitOptions) -> TrainedState:
    """The state, trained now, with all its facts."""
    folder.mkdir(parents=True, exist_ok=True)
    fit, done = FITS[router], 0
    with stage(f"fit {router}", None, "steps") as advance:

        def progress(step: int, _most: int, _loss: float) -> None:
            nonlocal done
            advance(step - done)
            done = step

        state = fit.train(parts, options.seconds, options.seed, progress, folder)
    made_by = {"seed": options.seed, "device": parts.device.partition(":")[0], **_versions()}
    facts = {**grounds_of(fit, published).facts, **state.facts, **made_by}
    if facts.get("ended") == SECONDS:
        steps = facts.get("steps")
        say(f"{router}: {options.seconds:g} s were over after {steps} steps; --again --seconds gives it more.")
    return TrainedState(state.tensors, facts, state.took)


def _versions() -> Mapping[str, str]:
    return {"lorauter": version("lorauter"), "torch": version("torch").partition("+")[0]}
