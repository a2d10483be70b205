"""Fuzz: a million hostile configs, weights' heads, listings and packed bodies through everything that reads them first.

    python -m benchmarks.fuzz_parsers --inputs 1000000 [--seed 1] [--processes 2] [--json OUT]
    python -m benchmarks.fuzz_parsers --replay fuzz-failure-1-1.json

For every input: nothing raises, no call takes longer than 2 s of CPU, memory stays bounded, no length leaves its
limit, facts and verdicts can be kept as text. What `parse_header` accepts lies end to end within the file, and the
safetensors library opens it with the same names, types and shapes; what the library refuses, we must refuse. Files
too large to hold are opened sparse. Being stricter than the library is allowed, and counted.

Exit code 1 on any failure; the inputs that failed are written beside, one a kind of failure.

Knows: how such files are built and how to break them, what must hold of every answer.
Does not know: which reason is right for which input (the tests of catalog/ do).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.fuzz_inputs import KINDS, Input, make_inputs
from benchmarks.fuzz_reading import CPU_SECONDS, Tally, TooLong, read_one
from flows.screen.progress import stage

MEMORY = 3 << 30  # bytes a worker may hold
CHUNK = 1000  # inputs made from one random state


def main() -> None:
    """Fuzz, print the table; exit code 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--replay", type=Path, help="read one input that failed, and nothing else")
    args = parser.parse_args()
    if args.replay:
        sys.exit(replay(args.replay))
    began = time.monotonic()
    tally = fuzz(args.inputs, args.seed, args.processes)
    seconds = time.monotonic() - began
    show(tally, seconds, args.processes)
    if args.json:
        args.json.write_text(json.dumps(figures(tally, seconds, args), indent=2) + "\n")
    for number, (message, given) in enumerate(tally.failures, 1):
        print(f"FAILED: {message}\n  python -m benchmarks.fuzz_parsers --replay {_save(given, args.seed, number)}")
    sys.exit(1 if tally.failed else 130 if tally.inputs.total() < args.inputs else 0)


def fuzz(inputs: int, seed: int, processes: int) -> Tally:
    """Make and read `inputs` inputs; at Ctrl-C, what was done until then."""
    tally = Tally()
    chunks = [(f"{seed}/{start}", min(CHUNK, inputs - start)) for start in range(0, inputs, CHUNK)]
    with (
        ProcessPoolExecutor(processes, initializer=_prepare_worker) as pool,
        stage("fuzz", inputs, "inputs") as advance,
    ):
        try:
            for part in as_completed([pool.submit(_run_chunk, chunk) for chunk in chunks]):
                tally.add(part.result())
                advance(part.result().inputs.total())
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
        except BrokenProcessPool:  # killed, or crashed in a library
            tally.failed += 1
            print("FAILED: a worker died; run it again with the same seed and --processes 1", file=sys.stderr)
    return tally


def replay(path: Path) -> int:
    """Read one saved input again and say what comes of it."""
    saved = json.loads(path.read_text())
    given = Input(saved["kind"], saved["target"], base64.b64decode(saved["data"]), saved["size"])
    _prepare_worker()
    tally = Tally()
    read_one(given, tally)
    print(f"{given.kind} ({given.target}, {len(given.data)} bytes, size {given.size}): {given.data[:300]!r}")
    print("\n".join([f"FAILED: {message}" for message, _ in tally.failures] or ["nothing failed"]))
    return 1 if tally.failed else 0


# Reading: what must hold of every answer


def _prepare_worker() -> None:
    """Ctrl-C is the parent's; time and memory are bounded by the system, whatever the code under test does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _too_long(number: int, frame: FrameType | None) -> None:
    where = frame.f_code.co_qualname if frame else "?"
    raise TooLong(f"longer than {CPU_SECONDS} s of CPU, in {where}")


def _run_chunk(chunk: tuple[str, int]) -> Tally:
    state, count = chunk
    tally = Tally()
    for given in make_inputs(random.Random(state), count):
        read_one(given, tally)
    return tally


def show(tally: Tally, seconds: float, processes: int) -> None:
    """Print what came of it."""
    columns = list(dict.fromkeys(("accepted", *sorted({o for _, o in tally.outcomes}))))
    print(f"{'kind':<14}{'inputs':>10}" + "".join(f"{c:>{_width(c)}}" for c in columns) + f"{'slowest, ms':>13}")
    for kind in sorted(tally.inputs, key=list(KINDS).index):
        counts = "".join(f"{tally.outcomes[kind, c]:>{_width(c)},}" for c in columns)
        print(f"{kind:<14}{tally.inputs[kind]:>10,}{counts}{tally.slowest[kind] * 1000:>13.1f}")
    total = tally.inputs.total()
    sums = "".join(f"{sum(n for (_, o), n in tally.outcomes.items() if o == c):>{_width(c)},}" for c in columns)
    print(f"{'all':<14}{total:>10,}{sums}{max(tally.slowest.values(), default=0) * 1000:>13.1f}")
    print("\nfirst finding of judge: " + _counts(tally.findings))
    print("safetensors library: " + _counts(tally.library))
    rate = f"{total:,} inputs in {seconds:.0f} s, {total / seconds:,.0f} a second in {processes} processes"
    print(f"\n{rate}; {tally.failed:,} failed.")


def figures(tally: Tally, seconds: float, args: argparse.Namespace) -> dict[str, Any]:
    """The same for a file."""
    outcomes: Counter[str] = Counter()
    for (_, outcome), count in tally.outcomes.items():
        outcomes[outcome] += count
    return {
        "inputs": tally.inputs.total(),
        "seed": args.seed,
        "processes": args.processes,
        "seconds": round(seconds, 1),
        "inputs_per_second": round(tally.inputs.total() / seconds, 1),
        "by_kind": dict(tally.inputs.most_common()),
        "outcomes": dict(outcomes.most_common()),
        "safetensors_library": dict(tally.library.most_common()),
        "slowest_ms": round(max(tally.slowest.values(), default=0.0) * 1000, 1),
        "failed": tally.failed,
        "failures": [message for message, _ in tally.failures],
    }


def _width(column: str) -> int:
    return max(9, len(column) + 2)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())


def _save(given: Input, seed: int, number: int) -> Path:
    path = Path(f"fuzz-failure-{seed}-{number}.json")
    saved = {"kind": given.kind, "target": given.target, "size": given.size}
    path.write_text(json.dumps({**saved, "data": base64.b64encode(given.data).decode()}) + "\n")
    return path


if __name__ == "__main__":
    main()
