"""Downloads: the weights of admitted adapters, each fetched once, checked once, remembered in the ledger.

Knows: what a check looks at, that a file which is not the announced one is fetched again before it counts.
Does not know: the rules on weights (catalog/rules), duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import WEIGHTS_NAME, AdapterFacts
from catalog.errors import HubDown, HubError, HubRefusal, UnsupportedAdapter
from catalog.hub.client import Hub
from catalog.rules.table import judge_weights
from catalog.rules.verdict import UNREACHABLE, Verdict
from flows.screen.progress import Advance
from warehouse.ledger.ledger import Ledger
from warehouse.records.weights import StoredWeights, WeightsRow

DOWNLOADERS = 8  # at once; each also waits for the disk
TRIES = 3  # of a file that comes other than announced: the way may be to blame
FetchAdapter = Callable[[str], Path]
"""Key of an adapter → folder of its files, downloaded if need be."""


class Downloads:
    """The checks of weights that the ledger has, and what it lacks.

    Args:
        refused: of those that failed, what the hub will not give; the others had trouble on the way.
    """

    def __init__(self, ledger: Ledger, hub: Hub, fetch_adapter: FetchAdapter) -> None:
        self._hub, self._fetch = hub, fetch_adapter
        self._checked = StoredWeights(ledger)
        self._new: dict[str, WeightsRow] = {}
        self._failed: dict[str, Finding] = {}
        self.refused: set[str] = set()

    def lacking(self, keys: Iterable[str]) -> list[str]:
        """Those that were never checked, and are not known to be out of reach now."""
        tried = self._new.keys() | self._failed.keys()
        return [key for key in dict.fromkeys(keys) if key not in self._checked and key not in tried]

    def check(self, announced: Mapping[str, str | None], advance: Advance) -> None:
        """Download and check adapters: key → the sha256 that the hub announced. One that fails is told of later."""
        with ThreadPoolExecutor(min(DOWNLOADERS, self._hub.options.readers)) as pool:
            jobs = {key: pool.submit(self._fetch, key) for key in announced}
            try:
                for key, sha256 in announced.items():
                    self._check(key, sha256, jobs.pop(key))
                    advance(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def findings(self, verdicts: Mapping[str, Verdict]) -> dict[str, list[Finding]]:
        """What is wrong with the weights of those that were checked: adapter key → findings."""
        checked = {row.adapter: row for row in self._checked.of(verdicts)}
        checked |= {key: self._new[key] for key in verdicts if key in self._new}
        return {key: _findings(verdicts[key], checked[key]) for key in verdicts if key in checked} | {
            key: [self._failed[key]] for key in verdicts if key in self._failed
        }

    def _check(self, key: str, sha256: str | None, fetched: Future[Path]) -> None:
        try:
            row = _checked(key, fetched.result())
            for _ in range(TRIES - 1):
                if sha256 in (None, row.facts.sha256):
                    break
                id_ = AdapterId.parse(key)
                self._hub.forget(id_.repo, f"{id_.path}/{WEIGHTS_NAME}".lstrip("/"), id_.sha)
                row = _checked(key, self._fetch(key))
        except HubDown:
            raise
        except HubError as error:
            self._failed[key] = Finding(UNREACHABLE, error.cause[:500])
            if isinstance(error, HubRefusal):
                self.refused.add(key)
        else:
            self._new[key] = row
            self._checked.add(row)


def _checked(key: str, folder: Path) -> WeightsRow:
    from lorauter.adapters.weights import JUDGED, read_adapter
    from lorauter.adapters.weights_check import check_weights

    try:
        read_adapter(folder, JUDGED)
        unsupported = None
    except UnsupportedAdapter as error:
        unsupported = error.cause
    checked = check_weights(folder / WEIGHTS_NAME)
    return WeightsRow(key, checked.facts, unsupported, checked.mean_norm, checked.norms)


def _findings(verdict: Verdict, row: WeightsRow) -> list[Finding]:
    announced = AdapterFacts(
        verdict.id, (), None, False, 0, None, verdict.size, verdict.sha256, (), (), header_read=True
    )
    unsupported = [Finding("unsupported", row.unsupported[:500])] if row.unsupported else []
    facts = row.judged_by(verdict.profile.dora)
    return judge_weights(announced, facts) or unsupported  # reading refuses these numbers as well
