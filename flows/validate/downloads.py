"""Downloads: the weights of admitted adapters, each fetched once, checked once, remembered in the ledger.

Knows: what a check looks at, that a file which is not the announced one is fetched again before it counts.
Does not know: the rules on weights (catalog/rules), duplicates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import WEIGHTS_NAME, AdapterFacts
from catalog.errors import HubDown, HubError, HubRefusal, UnsupportedAdapter
from catalog.rules.table import WeightFacts, judge_weights
from flows.home.home import Home
from flows.screen.progress import Advance
from flows.validate.reads import UNREACHABLE

DOWNLOADERS = 8  # at once; each also waits for the disk
TRIES = 3  # of a file that comes other than announced: the way may be to blame


class Downloads:
    """The ledger's table `weights`, and what it lacks."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._index = home.ledger.index("weights")
        self._changes = home.ledger.changes("weights")
        self._new: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, Finding] = {}
        self.refused: set[str] = set()  # of those, what the hub will not give; the others had trouble on the way

    def lacking(self, keys: Iterable[str]) -> list[str]:
        """Those that were never checked, and are not known to be out of reach now."""
        tried = self._new.keys() | self._failed.keys()
        return [key for key in dict.fromkeys(keys) if (key,) not in self._index and key not in tried]

    def check(self, announced: Mapping[str, str | None], advance: Advance) -> None:
        """Download and check adapters: key → the sha256 that the hub announced. One that fails is told of later."""
        with ThreadPoolExecutor(min(DOWNLOADERS, self._home.settings.readers)) as pool:
            jobs = {key: pool.submit(self._fetch, key) for key in announced}
            try:
                for key, sha256 in announced.items():
                    self._check(key, sha256, jobs.pop(key))
                    advance(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def findings(self, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Finding]]:
        """Findings on the weights of those that were checked: adapter key → findings. `rows` are their verdicts."""
        checked = {row["adapter"]: row for row in self._index.rows((key,) for key in rows)}
        checked |= {key: self._new[key] for key in rows if key in self._new}
        return {key: _findings(rows[key], checked[key]) for key in rows if key in checked} | {
            key: [self._failed[key]] for key in rows if key in self._failed
        }

    def _check(self, key: str, sha256: str | None, fetched: Future[Path]) -> None:
        try:
            row = _weights_row(key, fetched.result())
            for _ in range(TRIES - 1):
                if sha256 in (None, row["sha256"]):
                    break
                self._forget(key)
                row = _weights_row(key, self._fetch(key))
        except HubDown:
            raise
        except HubError as error:
            self._failed[key] = Finding(UNREACHABLE, error.cause[:500])
            if isinstance(error, HubRefusal):
                self.refused.add(key)
        else:
            self._new[key] = row
            self._changes.append([row])

    def _fetch(self, key: str) -> Path:
        return self._home.fetch_adapter(key)

    def _forget(self, key: str) -> None:
        id_ = AdapterId.parse(key)
        self._home.hub.forget(id_.repo, f"{id_.path}/{WEIGHTS_NAME}".lstrip("/"), id_.sha)


def _weights_row(key: str, folder: Path) -> dict[str, Any]:
    from lorauter.adapters.weights import JUDGED, read_adapter
    from lorauter.adapters.weights_check import check_weights

    try:
        read_adapter(folder, JUDGED)
        unsupported = None
    except UnsupportedAdapter as error:
        unsupported = error.cause
    checked = check_weights(folder / WEIGHTS_NAME)
    facts = asdict(checked.facts) | {"non_finite": list(checked.facts.non_finite)}
    norms = [{"module": module, "norm": norm} for module, norm in sorted(checked.norms.items())]
    return {"adapter": key, **facts, "unsupported": unsupported, "mean_norm": checked.mean_norm, "norms": norms}


def _findings(verdict: Mapping[str, Any], row: Mapping[str, Any]) -> list[Finding]:
    infinite, is_zero = tuple(row["non_finite"]), row["zero_b"]
    # Rows of older versions looked at no products, and kept their norms.
    if not infinite and row["mean_norm"] is not None:
        infinite = ("a product of A and B",) if math.isinf(row["mean_norm"]) else ()
        is_zero = is_zero or row["mean_norm"] == 0
    weights = WeightFacts(row["size"], row["sha256"], infinite, is_zero)
    unsupported = [Finding("unsupported", row["unsupported"][:500])] if row["unsupported"] else []
    return judge_weights(_announced(verdict), weights) or unsupported  # reading refuses these numbers as well


def _announced(verdict: Mapping[str, Any]) -> AdapterFacts:
    """The facts that a download is held against."""
    id_ = AdapterId.parse(verdict["adapter"])
    size, sha256 = verdict["size"], verdict["sha256"]
    return AdapterFacts(id_, (), None, False, 0, None, size, sha256, (), (), header_read=True)
