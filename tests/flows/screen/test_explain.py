"""A route explains itself: the whole object by hand, what people see of it, and the command on a tiny hub."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.mirror.server import serve_in_thread
from flows.screen.explained_route import show_explanation
from flows.stages import explainer_of
from lorauter.routing.routes import Route, TaskMatch
from warehouse.snapshots.snapshot import Snapshot, publish

BASE = {"base": "org/base", "base_sha": "1"}
WON, SECOND, FILTERED, HOSTILE = "ann/won@a1", "bob/second:deep@b2", "cleo/big@c3", "evil/\x1b[31m[bold]red@d4"
NAN = float("nan")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose hub has lost one repo, and whose routes leave one author out."""
    opened = open_home(
        home=tmp_path / "home", base="org/base", endpoint="http://hub/", routing={"not_authors": ["cleo"]}
    )
    row = {"target": "base:org/base", "repo": "bob/second", "sha": "b2", "gone": "renamed"}
    ledger_of(opened).append("repos", [row, {**row, "repo": "ann/won", "gone": None}])
    return opened


@pytest.fixture
def snapshot(home: Home) -> Snapshot:
    """Two tasks: one publishes the filtered adapter, the other the base."""
    scores = [
        _met("letters", FILTERED, 9, 0.9, 4, "leads"),
        _met("letters", WON, 9, 0.8, 4, "behind"),
        _met("letters", SECOND, 5, 0.7, 3, "caught"),
        _met("letters", HOSTILE, 2, 0.1, 1, "\x1b[2Jhopeless"),
        _met("letters", "", 9, 0.5, 4, "base"),
        _met("numbers", "", 2, 0.5, 1, "leads"),
    ]
    tables = {
        "tasks": [{**BASE, "task": task, "embedding": [1.0]} for task in ("letters", "numbers")],
        "best": [_best("letters", FILTERED, 0.85, 0.35), _best("numbers", "", 0.5, 0.0)],
        "scores": scores,
        "adapters": [
            {**BASE, "adapter": WON, "admitted": True, "licence": "mit", "size": 2_000_000, "rank": 8, "downloads": 7},
            *({**BASE, "adapter": key, "admitted": True} for key in (SECOND, FILTERED, HOSTILE)),
        ],
    }
    return publish(home.snapshots, tables, {})


def _met(task: str, key: str, n: int, mean: float, rung: int, why: str) -> dict[str, Any]:
    lift = {"lift": mean - 0.5, "lift_standard_error": 0.1, "lift_n": 2, "format": None}
    told = {"standard_error": 0.05, "rung": rung, "why": why}
    return {**BASE, "task": task, "adapter": key, "n": n, "mean": mean, **told, **lift}


def _best(task: str, key: str, score: float, lift: float) -> dict[str, Any]:
    told = {"score": score, "standard_error": 0.05, "n": 20, "base_score": 0.5, "lift_standard_error": NAN}
    return {**BASE, "task": task, "adapter": key, "lift": lift, **told}


def _told(task: str, key: str, n: int, mean: float, rung: int, why: str, **standing: str) -> dict[str, Any]:
    met = {name: value for name, value in _met(task, key, n, mean, rung, why).items() if name not in (*BASE, "task")}
    return {**met, "format_source": None, "filtered": None, "gone": None, **standing}


ROUTE = Route(((WON, 0.7),), (TaskMatch("letters", 0.9, 0.7), TaskMatch("numbers", 0.5, 0.3)), 0.9)


def test_a_route_is_explained_whole(home: Home, snapshot: Snapshot) -> None:
    found = explainer_of(home, snapshot, "lorauter").explain("Which letter?", ROUTE, ("colours", 0.25))

    published = {"n": 20, "base_score": 0.5, "standard_error": 0.05, "lift_standard_error": None}
    published |= {"format": None, "base_format": None, "format_source": None}
    assert found == {
        "text": "Which letter?",
        "router": "lorauter",
        "base": "org/base",
        "snapshot": snapshot.id,
        "filters": {"not_authors": ["cleo"]},
        "confidence": 0.9,
        "confidence_means": "cosine of the query to the nearest task, in [-1, 1]; no probability",
        "weights": "by query",
        "base_because": None,
        "base_weight": 0.3,
        "tasks": [
            {
                "task": "letters",
                "similarity": 0.9,
                "weight": 0.7,
                "published": {**published, "adapter": FILTERED, "score": 0.85, "lift": 0.35},
                "used": WON,
                "used_because": "next best that passes the filters",
                "selection": _told("letters", WON, 9, 0.8, 4, "behind"),
                "others": [
                    _told("letters", SECOND, 5, 0.7, 3, "caught", gone="renamed"),
                    _told("letters", HOSTILE, 2, 0.1, 1, "\x1b[2Jhopeless"),
                ],
                "others_scored": 2,
                "filtered": [_told("letters", FILTERED, 9, 0.9, 4, "leads", filtered="author cleo is left out")],
                "filtered_scored": 1,
            },
            {
                "task": "numbers",
                "similarity": 0.5,
                "weight": 0.3,
                "published": {**published, "adapter": "", "score": 0.5, "lift": 0.0},
                "used": "",
                "used_because": "no adapter improves on the base",
                "selection": _told("numbers", "", 2, 0.5, 1, "leads"),
                "others": [],
                "others_scored": 0,
                "filtered": [],
                "filtered_scored": 0,
            },
        ],
        "next_task": {"task": "colours", "similarity": 0.25},
        "adapters": [
            {
                "adapter": WON,
                "weight": 0.7,
                "tasks": ["letters"],
                "author": "ann",
                "commit": "a1",
                "page": "http://hub/ann/won/tree/a1",
                "licence": "mit",
                "size": 2_000_000,
                "rank": 8,
                "downloads": 7,
                "gone": None,
            }
        ],
    }


def test_formats_are_told_with_what_speaks_for_them_and_the_bases_too(home: Home) -> None:
    """The pick was scored in a format that its card shows, the runner-up in one that nothing published speaks for."""
    best = {**_best("letters", WON, 0.85, 0.35), "format": "alpaca", "base_format": "chatml"}
    scores = [{**_met("letters", WON, 9, 0.8, 4, "leads"), "format": "alpaca"}]
    scores += [{**_met("letters", SECOND, 5, 0.7, 3, "caught"), "format": "own 12345678"}]
    tables = {
        "tasks": [{**BASE, "task": "letters", "embedding": [1.0]}],
        "best": [best],
        "scores": scores,
        "formats": [{**BASE, "adapter": WON, "place": 1, "format": "alpaca", "source": "card code"}],
    }
    snapshot = publish(home.snapshots, tables, {})

    found = explainer_of(home, snapshot, "lorauter").explain("?", Route(((WON, 1.0),), ROUTE.tasks[:1], 0.9))

    [task] = found["tasks"]
    told = ("format", "format_source")
    assert [task["published"][name] for name in (*told, "base_format")] == ["alpaca", "card code", "chatml"]
    assert [task["selection"][name] for name in told] == ["alpaca", "card code"]
    assert [task["others"][0][name] for name in told] == ["own 12345678", None]
    lines = [" ".join(line.split()) for line in _shown(found).splitlines()]
    pick = "ann/won (asked in alpaca, known from its card code)"
    assert f"letters {pick} 0.900 0.700 0.85 ± 0.05 +0.35 0.50 (chatml) 20" in lines
    assert any(line.startswith("bob/second:deep (asked in own 12345678) ") for line in lines)


@pytest.mark.parametrize(
    ("router", "route", "because"),
    [
        ("base", Route(()), "the router knows no other"),
        ("uniform", Route(()), "no adapter may be used"),
        ("discriminant", Route((), (TaskMatch("letters", 0.1, 0.0),), 0.2), "the query is too far from every task"),
        (
            "lorauter",
            Route((), (TaskMatch("numbers", 0.9, 1.0),), 0.9),
            "for none of its tasks is there an adapter that may be used and improves on the base",
        ),
    ],
)
def test_the_base_is_explained(home: Home, snapshot: Snapshot, router: str, route: Route, because: str) -> None:
    found = explainer_of(home, snapshot, router).explain("?", route)

    assert (found["base_because"], found["base_weight"], found["adapters"]) == (because, 1.0, [])


def test_a_control_says_which_tasks_publish_what_it_takes(home: Home, snapshot: Snapshot) -> None:
    found = explainer_of(home, snapshot, "uniform").explain("?", Route(((WON, 1.0),)))

    assert [(row["adapter"], row["weight"], row["tasks"]) for row in found["adapters"]] == [(WON, 1.0, ["letters"])]


def test_a_gate_names_its_candidates_and_no_weights(home: Home, snapshot: Snapshot) -> None:
    from lorauter.gates.protocol import GatedRoute

    gate = SimpleNamespace(name="arrow", adapters=(WON, HOSTILE), weigh=None)

    found = explainer_of(home, snapshot, "arrow").explain("?", GatedRoute(gate))  # type: ignore[arg-type]

    assert (found["weights"], found["base_weight"], found["confidence"]) == ("by token", None, None)
    assert [(row["adapter"], row["weight"]) for row in found["adapters"]] == [(WON, None), (HOSTILE, None)]
    assert "weights differ from token to token" in _shown(found)


def test_what_a_hub_says_is_shown_as_text(home: Home, snapshot: Snapshot) -> None:
    route = Route(((HOSTILE, 0.6), (WON, 0.4)), ROUTE.tasks, 0.9)

    shown = _shown(explainer_of(home, snapshot, "lorauter").explain("Which\x1b[0m letter?", route))

    assert "\x1b" not in shown
    assert "evil/�[31m[bold]red" in shown
    assert "�[2Jhopeless" in shown
    assert "http://hub/evil/%1B%5B31m%5Bbold%5Dred/tree/d4" in shown


def test_people_see_the_same_in_tables(home: Home, snapshot: Snapshot) -> None:
    found = explainer_of(home, snapshot, "lorauter").explain("Which letter?", ROUTE, ("colours", 0.25))

    assert [" ".join(line.split()) for line in _shown(found).splitlines()] == [
        f"'Which letter?' by lorauter, snapshot {snapshot.id}",
        "filters: not_authors cleo",
        "confidence 0.900: cosine of the query to the nearest task, in [-1, 1]; no probability",
        "Tasks",
        "task published adapter similarity weight score lift over base base n",
        "letters cleo/big 0.900 0.700 0.85 ± 0.05 +0.35 0.50 20",
        "→ ann/won (next best that passes the filters)",
        "numbers (base) 0.500 0.300 0.50 ± 0.05 +0.00 0.50 20",
        "next: colours 0.250 –",
        "Adapters",
        "adapter tasks licence weight size rank downloads",
        "ann/won letters mit 0.700 2.0 MB 8 7",
        "(base) numbers 0.300",
        "http://hub/ann/won/tree/a1",
        "Why others lost (selection examples)",
        "task adapter mean n lift rung why",
        "letters ann/won 0.80 9 +0.30 ± 0.10 4 used; behind",
        "bob/second:deep 0.70 5 +0.20 ± 0.10 3 gone from the hub: renamed; caught",
        "evil/�[31m[bold]red 0.10 2 -0.40 ± 0.10 1 �[2Jhopeless",
        "cleo/big 0.90 9 +0.40 ± 0.10 4 filtered out: author cleo is left out; leads",
        "numbers (base) 0.50 2 +0.00 ± 0.10 1 used; leads",
    ]


def _shown(found: dict[str, Any]) -> str:
    out = io.StringIO()
    show_explanation(found, out)
    return out.getvalue()


TINY = "tiny/llama"
COLOUR = "What colour is the 7 in the painting?"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path, refreshed: Path) -> Iterator[Home]:
    """A home with a published snapshot; its lorauter.toml points at the hub."""
    with serve_in_thread(tiny_hub_folder) as hub:
        root = shutil.copytree(refreshed, tmp_path_factory.mktemp("published") / "home", symlinks=True)
        opened = open_home(home=root, endpoint=hub.endpoint, base=TINY)
        (opened.root / "lorauter.toml").write_text(f'base = "{TINY}"\nendpoint = "{hub.endpoint}"\n')
        yield opened


@pytest.fixture
def lorauter(published: Home) -> Callable[..., str]:
    """Runs a command over the published home; returns what it says on stdout."""

    def run(*arguments: object, stdin: str = "") -> str:
        words = ["--home", str(published.root), *map(str, arguments)]
        result = CliRunner().invoke(cli, words, input=stdin, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def _used(line: str) -> dict[str, str]:
    """Task → the name of the adapter that is used for it."""
    return {task["task"]: AdapterId.parse(task["used"]).name for task in json.loads(line)["tasks"]}


def test_json_pipes(lorauter: Callable[..., str]) -> None:
    found = json.loads(lorauter("route", COLOUR, "--top-k", 2, "--format", "json"))

    assert found["tasks"][0]["task"] == "colours"
    assert found["adapters"][0]["tasks"] == ["colours"]
    assert found["next_task"]["task"] not in [task["task"] for task in found["tasks"]]
    assert found["next_task"]["similarity"] < found["tasks"][1]["similarity"] < found["confidence"]


def test_every_line_of_stdin_has_its_route(lorauter: Callable[..., str]) -> None:
    texts = [COLOUR, "Which way does the compass needle point at mile 3?"]

    lines = lorauter("route", "-", "--format", "json", stdin=f"{texts[0]}\n\n{texts[1]}\n").splitlines()
    plain = lorauter("route", "-", "--top-k", 1, stdin="\n".join(texts)).splitlines()

    assert [json.loads(line)["text"] for line in lines] == texts
    assert [json.loads(line)["tasks"][0]["task"] for line in lines] == ["colours", "compass"]
    assert [line.split("\t")[::2] for line in plain] == [["1.000", text] for text in texts]


def test_a_filtered_adapter_gives_way_in_routes_and_in_answers(
    lorauter: Callable[..., str], published: Home, tmp_path: Path
) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"input": COLOUR, "max_new_tokens": 2}) + "\n")

    used = _used(lorauter("route", COLOUR, "--not-author", "ANN", "--format", "json"))
    lorauter("answer", "--in", tmp_path / "q.jsonl", "--out", tmp_path / "a.parquet", "--not-author", "ann")

    row = pq.read_table(tmp_path / "a.parquet").to_pylist()[0]
    gave_way = {f["task"]: tuple(AdapterId.parse(f[name]).name for name in ("gone", "used")) for f in row["fallbacks"]}
    assert gave_way == {"colours": ("ann/colours", used["colours"])}
    assert "ann/colours" not in used.values()
    assert not [key for key in row["adapters"] if key["adapter"].startswith("ann/")]


def test_nothing_that_passes_is_the_base(lorauter: Callable[..., str]) -> None:
    assert lorauter("route", COLOUR, "--licence", "mit") == "1.000\t(base)\n"
    assert lorauter("route", COLOUR, "--max-bytes", "1kB") == "1.000\t(base)\n"


def test_an_export_keeps_to_the_filters(lorauter: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"input": COLOUR}) + "\n")

    files = ("--in", tmp_path / "q.jsonl", "--out", tmp_path / "r.jsonl")
    lorauter("export", *files, "--for", "vllm", "--author", "nobody")

    assert json.loads((tmp_path / "r.jsonl").read_text())["body"]["model"] == TINY


def test_the_oracle_is_told_the_task(lorauter: Callable[..., str]) -> None:
    route = lorauter("route", COLOUR, "--router", "oracle", "--task", "compass")

    assert route.startswith("1.000\tcleo/compass@")


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (("--router", "oracle"), "The oracle, and no other router, needs the true task."),
        (("--task", "compass"), "The oracle, and no other router, needs the true task."),
        (("--router", "oracle", "--task", "north"), "The snapshot has no task 'north'."),
    ],
)
def test_a_task_that_does_not_fit_is_refused(lorauter: Callable[..., str], flags: tuple[str, ...], cause: str) -> None:
    with pytest.raises(SettingError) as refused:
        lorauter("route", COLOUR, *flags)

    assert refused.value.cause == cause
