"""The demo: the main job from nothing to routed answers, on real weights, against a hub on loopback.

Knows: the order, what it measures, the figures of demo.json. Does not know: how they are shown (flows/screen/report).

Budget of the full demo, kept by tests/flows/demo: prompts of at most 48 tokens and answers of at most 8 (one task 24).
Halving gives (3, 3, 6, 12) examples a rung and 40 to report: 4,438 short rows with 27 adapters on 14 tasks. Five
routers answer 50 test queries a task, 3,500 rows; the majority answer needs no model.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from catalog.errors import SettingError
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID
from flows.demo.peak_memory import PeakMemory
from flows.demo.world import ENCODER_ID, build_world, demo_tasks
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.prefect_runtime.setup import prepare_prefect, start_prefect
from flows.screen.progress import SECONDS, say, stage
from warehouse.ledger.ledger import Ledger
from warehouse.storage.files import write_text
from warehouse.tasks.folder import store_task

ROUTERS = ("lorauter", "oracle", "uniform", "random", "base", "majority")
_TOML = f'base = "{BASE_ID}"\nencoder = "{ENCODER_ID}"\n'
QUALITY_SQL = (
    "SELECT replace(router, 'lorauter', 'routed') AS router, round(avg(score), 4) AS quality\n"
    "FROM (SELECT router, task, avg(score) AS score FROM read_parquet('{answers}') GROUP BY ALL)\n"
    "GROUP BY router ORDER BY quality DESC"
)


def run_demo(settings_home: Path, small: bool = False) -> dict[str, Any]:
    """Run the whole demo in a home and return the figures of demo.json, which is written there too."""
    began = time.monotonic()
    with PeakMemory() as memory:
        home, folder = prepare_home(settings_home, small)
        from catalog.hub.client import COUNT
        from flows.mirror.server import serve_in_thread

        with serve_in_thread(folder) as hub:
            settings = {**home.reference, "endpoint": hub.endpoint}
            outcome = _run_flows(home, settings, small)
    figures = {
        **outcome,
        "file_requests": COUNT.file,
        "seconds": {
            **{name: round(seconds, 2) for name, seconds in SECONDS.items()},
            "total": round(time.monotonic() - began, 2),
        },
        "peak_rss_mib": round(memory.peak_mib),
    }
    write_text(home.root / "demo.json", json.dumps(figures, indent=2) + "\n")
    return figures


def prepare_home(root: Path, small: bool) -> tuple[Home, Path]:
    """The home with the demo's settings and tasks in it, and the hub folder."""
    for name in ("LORAUTER_TOKEN", "HF_TOKEN"):
        os.environ.pop(name, None)  # the demo's hub knows no tokens, and a real one must not be sent to it
    _refuse_a_home_in_use(root)
    home = open_home(home=root, storage="", base=BASE_ID, encoder=ENCODER_ID)  # never into what others share
    write_text(home.root / "lorauter.toml", _TOML)
    prepare_prefect(home.root)
    with stage("prepare"):
        folder = build_world(home.root / "demo", small)
        for task in demo_tasks(small):
            store_task(home.task_folder, task)
    _estimate(home, demo_tasks(small))
    return home, folder


def _refuse_a_home_in_use(root: Path) -> None:
    """The demo writes settings and tasks: it must not do so over somebody's catalog."""
    toml = root / "lorauter.toml"
    if (toml.exists() and toml.read_text(encoding="utf-8") != _TOML) or (
        (root / "ledger").exists() and not toml.exists()
    ):
        raise SettingError(f"{root} holds a catalog of yours.", "Run the demo elsewhere: lorauter --home DIR demo.")


def _run_flows(home: Home, settings: dict[str, Any], small: bool) -> dict[str, Any]:
    start_prefect()
    from flows.answer_batch import answer_batch
    from flows.refresh import refresh

    refreshed = refresh(settings)
    queries, answers = home.root / "demo" / "queries.jsonl", home.root / "demo" / "answers.parquet"
    write_text(queries, "".join(json.dumps(row) + "\n" for row in test_queries(demo_tasks(small))))
    answered = answer_batch(str(queries), str(answers), ROUTERS, settings=settings)
    evaluations = refreshed["evaluations"]
    return {
        "funnel": funnel(Path(refreshed["folder"]), ledger_of(home)),
        "evaluations": {**evaluations, "answers": answered["new"]},
        "quality": quality(answers, ledger_of(home)),
        "snapshot": refreshed["snapshot"],
        "answers": str(answers),
    }


def test_queries(tasks: list[Task]) -> list[dict[str, Any]]:
    """The held-back test examples as rows of a query file."""
    return [
        {
            "id": f"{task.name}/{example.id}",
            "input": example.input,
            "task": task.name,
            "target": example.target,
            "metric": task.metric,
            "max_new_tokens": task.max_new_tokens,
        }
        for task in tasks
        for example in task.test
    ]


def funnel(snapshot: Path, ledger: Ledger) -> dict[str, Any]:
    """Counts from seen to scored, by SQL over the snapshot."""
    from warehouse.snapshots.snapshot import open_snapshot
    from warehouse.sql.session import connect, run

    with connect(open_snapshot(snapshot), ledger) as connection:
        seen, rejected, downloaded, admitted, scored = run(connection, "FROM funnel").fetchall()[0]
        reasons = run(connection, "SELECT reason, adapters FROM rejections").fetchall()
    return {
        "seen": seen,
        "rejected": rejected,
        "admitted": admitted,
        "downloaded": downloaded,
        "scored": scored,
        "reasons": dict(reasons),
    }


def quality(answers: Path, ledger: Ledger) -> dict[str, float]:
    """Mean over tasks of the mean score, by router: the printed query, run."""
    from warehouse.sql.session import connect, run

    with connect(None, ledger, answers.parent) as connection:
        return dict(run(connection, QUALITY_SQL.format(answers=answers)).fetchall())


def _estimate(home: Home, tasks: list[Task]) -> None:
    """Where bf16 is slow, say beforehand how long it takes: about an eighth of the speed."""
    from lorauter.device import choose_device, choose_dtype

    device = choose_device(home.settings.device)
    if device == "cpu" and choose_dtype(home.settings.dtype, device) != "bfloat16":
        rows = 300 * len(tasks) + len(ROUTERS) * sum(len(task.test) for task in tasks)
        minutes = rows * 40 / 230 / 60 * 2 / (os.cpu_count() or 1)
        say(f"This CPU has no bf16 instructions: the demo takes about {minutes:.0f} minutes here the first time.")
