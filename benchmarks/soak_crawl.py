"""Soak: crawls killed at random moments under random faults; each must end with the undisturbed crawl's ledger.

    python -m benchmarks.soak_crawl --crawls 200 [--repos 100] [--share 0.01] [--seed 1] [--json OUT]

A generated hub serves adapters of every kind. One crawl and validation in good weather gives the ledger to reach.
Then every crawl starts in a home of its own, in bad weather (429, 500, 503, stalled, cut, wrong lengths, slow bodies,
403 of the file host, each for a share of all requests), is killed -9 at one to three random moments, and started
again until it ends well. What the ledger holds then (listings, texts, verdicts, checks of weights) must be the same,
row for row, nothing twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.generated_hub import BASE, GeneratedHub

os.environ["OMP_NUM_THREADS"] = "1"  # forked crawls share the cores with the mirror
TABLES = ("repos", "raw", "bases", "weights", "verdicts")
MOST_STARTS = 40  # of one crawl: more would mean that it never gets anywhere
_TIMES = ("at",)


@dataclass
class Soak:
    """What the crawls came to."""

    crawls: int = 0
    kills: int = 0
    starts: int = 0
    different: list[str] = field(default_factory=list)


def main() -> None:
    """Run the soak; exit code 1 where a ledger differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crawls", type=int, default=200)
    parser.add_argument("--repos", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.01, help="of requests, for each kind of fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="side by side, each with a hub of its own")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    began = time.monotonic()
    figures = side_by_side(args) if args.processes > 1 else alone(args)
    figures["seconds"] = round(time.monotonic() - began)
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(1 if figures["different"] else 0)


def side_by_side(args: argparse.Namespace) -> dict[str, Any]:
    """The same soak in several processes, which mostly wait, with seeds of their own."""
    shares = [len(range(n, args.crawls, args.processes)) for n in range(args.processes)]
    command = [sys.executable, "-m", "benchmarks.soak_crawl", "--repos", str(args.repos), "--share", str(args.share)]
    runs = [
        subprocess.Popen(
            [*command, "--crawls", str(share), "--seed", str(args.seed + n)], stdout=subprocess.PIPE, text=True
        )
        for n, share in enumerate(shares)
    ]
    found = [json.loads(run.communicate()[0] or "null") for run in runs]
    if None in found:
        raise SystemExit("a soak ended early; its cause is above")
    added = {name: sum(figures[name] for figures in found) for name in ("crawls", "kills", "starts")}
    different = [told for figures in found for told in figures["different"]]
    return {**found[0], **added, "processes": args.processes, "different": different}


def alone(args: argparse.Namespace) -> dict[str, Any]:
    """The soak in this process."""
    root = Path(tempfile.mkdtemp(prefix="lorauter-soak-"))
    with GeneratedHub(args.repos, "--ranks", "4,64", "--targets", "qv", "--no-limits") as hub:
        try:
            soak, undisturbed = run(root, hub, args.crawls, args.share, random.Random(args.seed))
        finally:
            shutil.rmtree(root, ignore_errors=True)
    return {
        "crawls": soak.crawls,
        "kills": soak.kills,
        "starts": soak.starts,
        "repos": args.repos,
        "share_of_each_fault": args.share,
        "seconds_undisturbed": round(undisturbed, 1),
        "different": soak.different,
    }


def run(root: Path, hub: GeneratedHub, crawls: int, share: float, chance: random.Random) -> tuple[Soak, float]:
    """The undisturbed ledger, then all the others held against it."""
    _import_all()
    soak, home = Soak(), root / "undisturbed"
    began = time.monotonic()
    if _start(home, hub.endpoint).wait() != 0:
        raise SystemExit(f"the undisturbed crawl failed:\n{_log(home)}")
    alone, wanted = time.monotonic() - began, ledger_of(home)
    for number in range(crawls):
        faults = {"seed": chance.randrange(1 << 30), "retry_after_s": 1, "stall_s": 1.0, "slow_s": 0.3}
        hub.tell(faults=faults | dict.fromkeys(_FAULTS, share))
        home = root / f"crawl-{number}"
        _kill_and_go_on(
            home, hub.endpoint, [chance.uniform(0.05, 2 * alone) for _ in range(chance.randint(1, 3))], soak
        )
        found = ledger_of(home)
        soak.crawls += 1
        soak.different += [f"crawl {number}: {told}" for told in differences(wanted, found)]
        shutil.rmtree(home)
        print(f"{number + 1}/{crawls}: {soak.kills} kills, {len(soak.different)} differ", file=sys.stderr, flush=True)
    return soak, alone


_FAULTS = ("too_many", "broken", "unavailable", "stalled", "cut", "wrong_length", "slow", "forbidden")


def _kill_and_go_on(home: Path, endpoint: str, moments: list[float], soak: Soak) -> None:
    """Kill a crawl at each moment after its start, then let it end; it starts again until it ends well."""
    for start in range(MOST_STARTS):
        crawl = _start(home, endpoint)
        soak.starts += 1
        code = crawl.ends_within(moments[start]) if start < len(moments) else crawl.wait()
        if code == 0:
            return
        if code is None:
            crawl.kill()
            soak.kills += 1
    raise SystemExit(f"a crawl did not end in {MOST_STARTS} starts:\n{_log(home)}")


class _Child:
    """A forked crawl: everything is imported already, so a start costs nothing."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def ends_within(self, seconds: float) -> int | None:
        """Its exit code, or None where it still runs after so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return None

    def kill(self) -> None:
        """Kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _start(home: Path, endpoint: str) -> _Child:
    home.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        return _Child(pid)
    code = 1
    try:
        with (home / "log.txt").open("a") as log:
            os.dup2(log.fileno(), 2)
            code = crawl_once(home, endpoint)
    except BaseException:  # told in the log, and by the code
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def crawl_once(home: Path, endpoint: str) -> int:
    """Crawl and validate; 0 where nothing was left for another try."""
    from catalog.rules.table import Policy
    from flows.home import parts
    from flows.home.home import open_home
    from flows.stages import crawl, validate

    opened = open_home(home=home, endpoint=endpoint, base=BASE, page_size=15, policy=Policy(max_rank=8))
    done = crawl(opened)
    validate(opened)
    left = any(row["reason"] == "unreachable" for row in parts.ledger_of(opened).current("verdicts"))
    return 1 if done.failed or left else 0


def ledger_of(home: Path) -> dict[str, list[str]]:
    """The current rows of every table but their times, and every stored row that is there twice."""
    from warehouse.ledger.ledger import Ledger, fingerprint
    from warehouse.schemas.ledger import KEYS

    ledger = Ledger(home / "ledger")
    tables = {name: sorted(str(_timeless(row)) for row in ledger.current(name)) for name in TABLES}
    for name in TABLES:
        rows = [(tuple(row[k] for k in KEYS[name]), fingerprint(row)) for row in ledger.read(name).to_pylist()]
        tables[f"twice in {name}"] = sorted({str(row) for row in rows if rows.count(row) > 1})
    return tables


def differences(wanted: dict[str, list[str]], found: dict[str, list[str]]) -> list[str]:
    """What one ledger has and the other lacks, in a line each."""
    told = []
    for name, rows in wanted.items():
        lacking, extra = set(rows) - set(found[name]), set(found[name]) - set(rows)
        if lacking or extra or len(rows) != len(found[name]):
            told.append(
                f"{name}: lacks {len(lacking)}, has {len(extra)} others, e.g. {next(iter(extra or lacking), '')[:300]}"
            )
    return told


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _TIMES}


def _import_all() -> None:
    """Import before the forks what every crawl needs; nothing of it may start a thread."""
    import lorauter.adapters.base_modules
    import lorauter.adapters.weights
    import lorauter.adapters.weights_check  # noqa: F401


def _log(home: Path) -> str:
    return (home / "log.txt").read_text()[-3000:]


if __name__ == "__main__":
    main()
