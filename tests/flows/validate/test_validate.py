"""Validation against the mirror: every adapter ends with a verdict, and nothing is asked for twice."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from catalog.hub.client import COUNT
from catalog.rules.table import Policy
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import engine_here, hub_of, ledger_of
from flows.mirror.faults import Faults
from flows.mirror.server import HubServer, serve_in_thread
from flows.stages import crawl, validate
from tests.catalog.hub.hub_clock import time_flies_at
from tests.flows.validate.judging import BASE, OTHER_BASE, SOUND, admitted, change, reasons, run

ROOT = Path(__file__).parents[3]
WILD = Path(os.environ.get("LORAUTER_TEST_DATA") or ROOT / "../shared/data") / "wild_adapters"


def test_admitted_and_rejected_are_all_that_was_seen(tmp_path: Path, hub: HubServer) -> None:
    home, judged = run(tmp_path, hub)
    by_verdict = Counter(reason is None for reason in reasons(home).values())
    assert (judged.seen, judged.admitted, judged.rejected) == (by_verdict.total(), by_verdict[True], by_verdict[False])
    assert admitted(home) == SOUND


def test_nothing_is_asked_for_or_written_twice(tmp_path: Path, hub: HubServer) -> None:
    home, _ = run(tmp_path, hub)
    rows, files = ledger_of(home).read("verdicts").num_rows, hub.counts.resolvers
    run(tmp_path, hub)
    assert (ledger_of(home).read("verdicts").num_rows, hub.counts.resolvers) == (rows, files)


def test_another_policy_judges_what_is_stored_without_a_file_request(tmp_path: Path, hub: HubServer) -> None:
    run(tmp_path, hub)
    files = COUNT.file
    home, _ = run(tmp_path, hub, policy=Policy(max_rank=4, licences=("mit",)))
    verdicts = {row["repo"]: row for row in ledger_of(home).current("verdicts")}
    assert COUNT.file == files
    assert [finding["reason"] for finding in verdicts["bob/animals"]["findings"]] == ["rank", "licence"]
    assert [finding["reason"] for finding in verdicts["ann/colours"]["findings"]] == ["licence"]


def test_the_first_policy_again_admits_without_a_request(tmp_path: Path, hub: HubServer) -> None:
    run(tmp_path, hub)
    run(tmp_path, hub, policy=Policy(max_rank=4))
    files = COUNT.file
    home, _ = run(tmp_path, hub)
    assert (COUNT.file, admitted(home)) == (files, SOUND)


def test_another_rank_than_the_configs_is_served_where_the_policy_lets_the_headers_count(
    tmp_path: Path, folder: Path, hub: HubServer
) -> None:
    change(folder, "ann/colours", r=64)
    strict, _ = run(tmp_path, hub)
    assert reasons(strict)["ann/colours"] == "rank_mismatch"

    home, judged = run(tmp_path, hub, policy=Policy(rank_mismatch=True))

    row = next(row for row in ledger_of(home).current("verdicts") if row["repo"] == "ann/colours")
    assert (row["reason"], row["rank"], row["rank_mismatches"]) == (None, 4, 4)
    engine = engine_here(home, BASE, judged.bases[0].sha)
    assert len(engine.generate(["red"], [((row["adapter"], 1.0),)], 2)) == 1


def test_an_adapter_of_a_revision_is_for_the_base_at_that_revision_alone(
    tmp_path: Path, folder: Path, hub: HubServer
) -> None:
    sha = hub_of(open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)).repo_files(BASE, "main")[0]
    change(folder, "ann/colours", revision=sha)
    change(folder, "bob/animals", revision="step1000")

    found = reasons(run(tmp_path, hub)[0])

    assert (found["ann/colours"], found["bob/animals"]) == (None, "base_revision")


@pytest.mark.parametrize(("norm", "reason"), [(0.0, "zero_b"), (float("inf"), "non_finite"), (1.0, None)])
def test_weights_that_an_older_version_checked_are_judged_by_their_norms(
    tmp_path: Path, hub: HubServer, norm: float, reason: str | None
) -> None:
    home, _ = run(tmp_path, hub)
    row = next(row for row in ledger_of(home).current("weights") if row["adapter"].startswith("ann/colours@"))
    ledger_of(home).changes("weights").append([{**row, "mean_norm": norm}])

    validate(home)

    assert reasons(home)["ann/colours"] == reason


@pytest.mark.parametrize("side", ["lora_A", "lora_B"])
def test_a_dora_whose_products_are_zero_is_admitted(tmp_path: Path, folder: Path, hub: HubServer, side: str) -> None:
    path = folder / "ann/colours/adapter_model.safetensors"
    tensors = load_file(path)
    vectors = {k.replace("lora_B.weight", "lora_magnitude_vector"): t[:, 0] for k, t in tensors.items() if "_B" in k}
    at_rest = {key: tensor * (side not in key) for key, tensor in tensors.items()}
    save_file({**at_rest, **{key: vector.clone() for key, vector in vectors.items()}}, path, {"format": "pt"})
    change(folder, "ann/colours", use_dora=True)

    home, _ = run(tmp_path, hub)

    assert reasons(home)["ann/colours"] is None


def test_every_failing_rule_is_kept_with_its_evidence(tmp_path: Path, hub: HubServer) -> None:
    home, _ = run(tmp_path, hub, policy=Policy(blocked=("wild",)))
    row = next(row for row in ledger_of(home).current("verdicts") if row["repo"] == "wild/pickle-only")
    assert row["findings"] == [{"reason": "blocked_author", "evidence": "author 'wild' is blocked"}]
    home, _ = run(tmp_path, hub, policy=Policy(licences=("mit",)))
    row = next(row for row in ledger_of(home).current("verdicts") if row["repo"] == "wild/pickle-only")
    assert [finding["reason"] for finding in row["findings"]] == ["pickle_only", "licence"]
    assert all(finding["evidence"] for finding in row["findings"])


def test_a_verdict_tells_what_the_adapter_is(tmp_path: Path, hub: HubServer) -> None:
    home, _ = run(tmp_path, hub)
    row = next(row for row in ledger_of(home).current("verdicts") if row["repo"] == "bob/animals")
    wanted = {
        "base_named": BASE,
        "base_source": "config",
        "matched": 4,
        "targeted": 4,
        "ranks": [{"rank": 8, "scaling": 4.0, "modules": 4}],
        "dtypes": ["F32"],
        "rslora": False,
    }
    assert {name: row[name] for name in wanted} == wanted


def test_a_changed_commit_is_read_anew_and_nothing_else(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    run(tmp_path, hub)
    card = folder / "bob/animals/README.md"
    card.write_text(card.read_text() + "\nNew words.\n")
    before = hub.counts.resolvers
    home, _ = run(tmp_path, hub)
    assert hub.counts.resolvers - before == 2 + 2, "config and header, then a HEAD of both files: their bytes are known"
    assert admitted(home) == SOUND


def test_trouble_on_the_way_is_tried_again_the_next_time(tmp_path: Path, hub: HubServer) -> None:
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
    crawl(home)
    validate(open_home(home=tmp_path / "other", endpoint=hub.endpoint, base=BASE))  # the base is on its way
    hub.set_faults(Faults(seed=3, cut=0.6))
    validate_through_trouble(home)
    spoilt = list(reasons(home).values()).count("unreachable")
    hub.set_faults(None)
    validate(home)
    assert spoilt > 0
    assert admitted(home) == SOUND
    assert "unreachable" not in reasons(home).values()


def validate_through_trouble(home: Home) -> None:
    from catalog.errors import HubError

    for _ in range(20):
        try:
            validate(home)
            return
        except HubError:  # the base itself could not be had
            continue
    raise AssertionError("not once in twenty times")


def test_several_bases_are_judged_in_one_run(tmp_path: Path, hub: HubServer) -> None:
    home, judged = run(tmp_path, hub, bases=(OTHER_BASE,))
    assert [base.id for base in judged.bases] == [BASE, OTHER_BASE]
    assert (admitted(home), admitted(home, OTHER_BASE)) == (SOUND, {"dan/colours": None})


def test_an_adapter_of_a_base_and_of_an_author_is_seen_once(tmp_path: Path, hub: HubServer) -> None:
    _, alone = run(tmp_path, hub)
    home, both = run(tmp_path, hub, targets=("author:ann",))
    rows = ledger_of(home).read("verdicts").num_rows
    run(tmp_path, hub, targets=("author:ann",))
    assert (both.seen, both.admitted) == (alone.seen, alone.admitted)
    assert ledger_of(home).read("verdicts").num_rows == rows


def test_adapters_of_an_author_are_judged_for_the_base_they_name(tmp_path: Path, hub: HubServer) -> None:
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, targets=("author:ann", "author:dan"))
    crawl(home, with_bases=False)
    judged = validate(home)
    assert (judged.seen, judged.admitted) == (2, 2)
    assert (admitted(home), admitted(home, OTHER_BASE)) == ({"ann/colours": None}, {"dan/colours": None})


def test_a_quantised_twin_is_judged_for_its_base_and_recorded(
    tmp_path: Path, hub: HubServer, folder: Path, write_adapter: Callable[..., None]
) -> None:
    write_adapter(folder / BASE, folder / "eve/quick", seed=7, rank=2, base_id="unsloth/llama-bnb-4bit")
    home, _ = run(tmp_path, hub)
    row = next(row for row in ledger_of(home).current("verdicts") if row["repo"] == "eve/quick")
    assert (row["admitted"], row["base"], row["base_named"], row["base_twin"]) == (
        True,
        BASE,
        "unsloth/llama-bnb-4bit",
        True,
    )


def test_a_base_that_is_nowhere_is_a_reason_of_its_own(
    tmp_path: Path, hub: HubServer, folder: Path, write_adapter: Callable[..., None]
) -> None:
    write_adapter(folder / BASE, folder / "eve/lost", seed=7, rank=2, base_id="tiny/deleted")
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, targets=("repo:eve/lost",))
    crawl(home, with_bases=False)
    validate(home)
    assert reasons(home, "tiny/deleted") == {"eve/lost": "base_unreadable"}


def test_a_repo_that_became_gated_is_rejected(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    run(tmp_path, hub)
    (folder / "bob/animals/.hub.json").write_text('{"gated": true}')
    home, _ = run(tmp_path, hub, sweep_days=0)
    assert reasons(home)["bob/animals"] == "gated"


def test_why_tells_the_story_of_an_adapter(tmp_path: Path, hub: HubServer, folder: Path) -> None:
    home, _ = run(tmp_path, hub)
    shutil.rmtree(folder / "wild/zero-b")
    run(tmp_path, hub, sweep_days=0)
    result = CliRunner().invoke(cli, ["--home", str(home.root), "why", "wild/zero-b"])
    assert "rejected: zero_b" in result.output
    assert "every product of A and B is zero: the adapter changes nothing" in result.output
    assert "wild/zero-b is gone from the hub: deleted or private" in result.output


def test_headers_only_downloads_nothing_and_a_later_run_does(tmp_path: Path, hub: HubServer) -> None:
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
    crawl(home)
    command = ["--home", str(home.root), "validate", "--endpoint", hub.endpoint, "--base", BASE]
    first = CliRunner().invoke(cli, [*command, "--headers-only"])
    cached = list((home.root / "hub").glob("models--*"))
    later = CliRunner().invoke(cli, command)
    assert (first.exit_code, later.exit_code, cached) == (0, 0, [])
    assert first.stdout == "26 adapters seen: 6 admitted, 20 rejected.\n", "NaN and zeros hide in the weights"
    assert later.stdout == "26 adapters seen: 4 admitted, 22 rejected.\n"


def test_a_folder_is_judged_offline_by_the_same_rules(tmp_path: Path, folder: Path) -> None:
    command = ["--home", str(tmp_path / "home"), "validate", "--folder", str(folder / "wild")]
    result = CliRunner().invoke(cli, [*command, "--json", str(tmp_path / "out.json")])
    rows = {row["folder"]: row["reason"] for row in json.loads((tmp_path / "out.json").read_text())}
    assert (result.exit_code, (tmp_path / "home").exists()) == (0, False)
    assert (rows["zero-b"], rows["pickle-only"], rows["checkpoints/checkpoint-200"]) == ("zero_b", "pickle_only", None)


@pytest.mark.skipif(not WILD.is_dir(), reason="no wild_adapters: set LORAUTER_TEST_DATA to the folder that holds it")
def test_every_wild_adapter_ends_with_its_verdict(tmp_path: Path) -> None:
    """The real folders, each a repo of the mirror, judged for the base that each names."""
    from transformers import GPT2Config, GPTNeoXConfig

    expected = {}
    with (Path(__file__).parent / "wild_verdicts.csv").open() as table:
        for number, row in enumerate(csv.DictReader(table)):
            shutil.copytree(WILD / row["folder"], tmp_path / f"hub/wild/w{number:03d}")
            expected[f"wild/w{number:03d}"] = row["reason"] or None
    known = {
        "openai-community/gpt2": GPT2Config(),
        "cyberagent/open-calm-1b": GPTNeoXConfig(
            hidden_size=2048, num_hidden_layers=24, num_attention_heads=16, intermediate_size=8192, vocab_size=52096
        ),
    }
    for id_, config in known.items():
        (tmp_path / "hub" / id_).mkdir(parents=True)
        (tmp_path / "hub" / id_ / "config.json").write_text(json.dumps(config.to_dict()))
    with serve_in_thread(tmp_path / "hub") as hub:
        targets = tuple(f"repo:{name}" for name in expected)
        home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, targets=targets)
        crawl(home, with_bases=False)
        judged = validate(home)
    rows = ledger_of(home).current("verdicts")
    assert {row["repo"]: row["reason"] for row in rows} == expected
    assert (judged.seen, judged.admitted) == (109, 2)
    assert {row["base"]: row["matched"] for row in rows if row["admitted"]} == {
        "openai-community/gpt2": 12,
        "cyberagent/open-calm-1b": 24,
    }


def test_a_wait_for_the_window_while_weights_come_is_told(
    tmp_path: Path, tiny_hub_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_in_thread(tiny_hub_folder) as hub, time_flies_at(hub.endpoint) as clock:
        home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
        crawl(home)
        validate(home, download=False)
        hub_of(home).transport.budget.refused("resolvers", 20.0)
        validate(home)
    assert "The hub's window for resolvers requests is spent; going on in 20 s." in capsys.readouterr().err
    assert set(clock.waits) == {20.0}
