"""Why an adapter was admitted or rejected, and what became of it, told from the ledger and the snapshots.

Knows: what matters first: where it is published, who pinned or banned it, then the rules. Makes no request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from catalog.adapters.adapter import AdapterId
from catalog.curation import Act, curation_of
from catalog.errors import SettingError, SnapshotError
from catalog.formats.detect import Evidence, trained_for
from catalog.formats.tried import evidence_named
from catalog.rules.verdict import Verdict
from flows.screen.screen import printable
from warehouse.ledger.ledger import Ledger
from warehouse.records.curation import acts
from warehouse.records.formats import StoredFormats
from warehouse.records.published import BestRow, read_published
from warehouse.records.repos import Repos
from warehouse.records.rungs import last_rungs
from warehouse.records.verdicts import verdicts_on
from warehouse.snapshots.pointer import swaps
from warehouse.snapshots.snapshot import open_snapshot

_TEMPLATE_SHOWN = 400  # characters of a template


def tell(ledger: Ledger, snapshots: Path, repo: str) -> Iterator[str]:
    """Lines about every adapter of `repo` (org/name, or org/name:folder for one). Raises SettingError if unseen."""
    name, _, folder = repo.partition(":")
    verdicts = verdicts_on(ledger, lambda key: AdapterId.parse(key).repo == name)
    verdicts = [verdict for verdict in verdicts if folder in ("", verdict.id.path)]
    if not verdicts:
        raise SettingError(f"{repo} has not been seen.", "Check the name, or run `lorauter refresh` first.")
    verdicts.sort(key=lambda verdict: verdict.id.key)  # of one adapter the oldest first, as they came
    published, everything = _Published(snapshots), acts(ledger)
    evidence = {verdict.id.key: _evidence(ledger, verdict) for verdict in verdicts}
    for verdict in verdicts:
        yield from map(printable, published.lines(verdict, evidence[verdict.id.key] or ()))
        yield from map(printable, _decisions(verdict, everything))
    yield from map(printable, _what_became_of(ledger, name))
    for verdict in verdicts:
        yield from map(printable, _story(verdict))
        of_format = evidence[verdict.id.key]
        if verdict.admitted and of_format is not None:
            yield from map(printable, _formats(of_format))
    for rung in last_rungs(ledger, {verdict.id.key for verdict in verdicts}):
        if not rung.kept:
            told = f"dropped at rung {rung.rung}, mean {rung.mean:.2f} on {rung.n}, {rung.why}{_asked_in(rung.format)}"
            yield printable(f"  {rung.task}: {told}")


def _evidence(ledger: Ledger, verdict: Verdict) -> Sequence[Evidence] | None:
    """What the ledger knows of an adapter's prompt format; None where nobody looked."""
    return StoredFormats(ledger, verdict.base).of([verdict.id.key]).get(verdict.id.key)


class _Published:
    """What is published, and since when: as far back as snapshots were kept."""

    def __init__(self, root: Path) -> None:
        self._swaps = swaps(root)[::-1]
        self._best: dict[str, list[BestRow] | None] = {}
        self._root = root

    def lines(self, verdict: Verdict, evidence: Sequence[Evidence]) -> Iterator[str]:
        """The tasks that an adapter is published or set aside for; that there is none, where there might be."""
        best = (self._read(self._swaps[0].id) or []) if self._swaps else []
        key = verdict.id.key
        own = [row for row in best if (row.base, row.adapter) == (verdict.base, key)]
        for row in own:
            yield (
                f"{key} is published for {row.task}: score {row.score:.2f}, "
                f"lift {row.lift:+.2f} over the base, since {self._since(row)}{_asked_in(row.format)}"
                f"{_known_from(evidence, row)}{_base_asked_in(row.base_format)}"
            )
        for row in best:
            if (row.base, row.set_aside) == (verdict.base, key):
                yield (
                    f"{key} was chosen for {row.task} and set aside: it gains nothing on examples that did not choose "
                    f"it, and the base is published (LORAUTER_UNCONFIRMED)"
                )
        if verdict.admitted and best and not own:
            yield f"{key} is published for no task"

    def _since(self, now: BestRow) -> str:
        """The day of the first snapshot of those in a row that publish it for the task."""
        day = ""
        for swap in self._swaps:
            best = self._read(swap.id)
            if best is None:
                return f"{day} or earlier"
            if all((row.base, row.task, row.adapter) != (now.base, now.task, now.adapter) for row in best):
                break
            day = f"{swap.at:%Y-%m-%d}"
        return day

    def _read(self, id_: str) -> list[BestRow] | None:
        """The rows of `best` of a snapshot; None where it was removed or cannot be read."""
        if id_ not in self._best:
            try:
                self._best[id_] = read_published(open_snapshot(self._root / id_), BestRow)
            except SnapshotError:
                self._best[id_] = None
        return self._best[id_]


def _asked_in(format_: str | None) -> str:
    """The prompt format that an adapter was asked in, where it is not the task's own."""
    return f", asked in the format {format_}" if format_ else ""


def _known_from(evidence: Sequence[Evidence], row: BestRow) -> str:
    """Where it is known from that a published adapter was trained in the format that it is asked in."""
    told = evidence_named(evidence, row.format, row.base) if row.format else None
    return f" (known from its {told.source}: {told.reason})" if told else ""


def _base_asked_in(format_: str | None) -> str:
    return f", and the base in {format_}" if format_ else ""


def _decisions(verdict: Verdict, everything: Iterable[Act]) -> Iterator[str]:
    """What people decided about an adapter, and still holds."""
    for act in curation_of(everything, verdict.base).held:
        if act.means(verdict.id.key):
            yield f"{verdict.id.name} is {act.with_task}"


def _what_became_of(ledger: Ledger, repo: str) -> Iterator[str]:
    """Why a repo is no longer on the hub, or closed, by target."""
    for row in Repos(ledger).called(repo):
        if row.gone:
            renamed = f", now {row.gone_to}" if row.gone_to else ""
            yield f"{repo} is gone from the hub: {row.gone}{renamed} ({row.target}, {row.at:%Y-%m-%d})"


def _story(verdict: Verdict) -> Iterator[str]:
    """A verdict with its evidence, and what the adapter is."""
    told = "admitted" if verdict.admitted else f"rejected: {verdict.reason}"
    yield f"{verdict.id.key} for {verdict.base}: {told} (rules {verdict.rules_version}, {verdict.at:%Y-%m-%d})"
    for finding in verdict.findings:
        yield f"  {finding.reason}: {finding.evidence}"
    seen = verdict.profile
    ranks = ", ".join(f"{group.modules} of rank {group.rank} × {_number(group.scaling)}" for group in seen.ranks)
    size = verdict.size or 0
    yield f"  {seen.modules} modules ({ranks or 'none'}), {size:,} bytes, licence {verdict.licence}"
    if seen.base_named not in (None, verdict.base):
        yield f"  it calls its base {seen.base_named!r} (known from its {seen.base_source})"


def _formats(evidence: Sequence[Evidence]) -> Iterator[str]:
    """Which prompt format an adapter says it was trained in, and how that is known; the surest first."""
    if not trained_for(evidence):
        yield "  nothing sure is said of its prompt format: the task's own template stays"
    for place, one in enumerate(evidence):
        says = "it was trained in the format" if place == 0 and trained_for(evidence) else "or in the format"
        yield f"  {says} {one.format} ({one.confidence:.2f}, {one.source}: {one.reason})"
        if one.template:
            stops = f", up to {' or '.join(map(repr, one.stops))}" if one.stops else ""
            yield f"    {one.template[:_TEMPLATE_SHOWN]!r}{stops}"


def _number(scaling: float | None) -> str:
    return "?" if scaling is None else f"{scaling:g}"
