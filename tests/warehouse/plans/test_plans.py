"""Plans: shards stay what they were, and only what is missing is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalog.errors import SnapshotError
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import (
    Conditions,
    Plan,
    Work,
    answers_of,
    finish_shard,
    forget_plan,
    make_plan,
    read_shard,
    shard_name,
)

OUTPUTS = "outputs/base=tiny%2Fllama"
HERE = Conditions("tiny/llama", "a" * 40, "float32", "1")


def work(*prompts: str) -> list[Work]:
    return [Work(prompt, (("ann/x@1", 1.0),), 3, "colours", prompt) for prompt in prompts]


def plan_for(root: Path, *prompts: str, rows: int = 2) -> Plan:
    return make_plan(root / "plans", Ledger(root / "ledger"), work(*prompts), HERE, rows)


def prompts_of(root: Path, plan: Plan, shard: int) -> list[str]:
    return [item.prompt for item in read_shard(root / "plans", plan.name, shard).work]


def finish(root: Path, plan: Plan, number: int) -> None:
    shard = read_shard(root / "plans", plan.name, number)
    finish_shard(Ledger(root / "ledger"), shard, [f"to {item.prompt}" for item in shard.work])


def texts(root: Path, *prompts: str) -> list[str]:
    return answers_of(Ledger(root / "ledger"), work(*prompts), HERE)


def test_work_is_cut_into_shards_of_like_lengths(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "aaa", "c", "bb", "c")
    assert plan.shards == {0: 2, 1: 1}
    assert [prompts_of(tmp_path, plan, shard) for shard in plan.shards] == [["c", "bb"], ["aaa"]]


def test_a_resumed_plan_keeps_its_shards_and_skips_the_finished(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "a", "bb", "ccc", "dddd")
    finish(tmp_path, plan, 0)
    again = plan_for(tmp_path, "dddd", "ccc", "bb", "a", rows=3)
    assert again == Plan(plan.name, {1: 2})
    assert prompts_of(tmp_path, again, 1) == ["ccc", "dddd"]


def test_finished_work_has_no_shards_and_its_texts(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "a", "bb", "ccc")
    for shard in plan.shards:
        finish(tmp_path, plan, shard)
    forget_plan(tmp_path / "plans", plan.name)
    assert plan_for(tmp_path, "a", "bb", "ccc").shards == {}
    assert texts(tmp_path, "ccc", "a") == ["to ccc", "to a"]


def test_a_new_item_costs_only_itself(tmp_path: Path) -> None:
    first = plan_for(tmp_path, "a", "bb")
    finish(tmp_path, first, 0)
    second = plan_for(tmp_path, "a", "new", "bb")
    assert [prompts_of(tmp_path, second, shard) for shard in second.shards] == [["new"]]


@pytest.mark.parametrize("forgotten", [True, False])
def test_outputs_that_were_deleted_are_planned_anew(tmp_path: Path, forgotten: bool) -> None:
    """Deleting a fragment is what the ledger advises where one is damaged."""
    plan = plan_for(tmp_path, "a", "bb", "ccc")
    for shard in plan.shards:
        finish(tmp_path, plan, shard)
    grown = plan_for(tmp_path, "a", "bb", "ccc", "dddd")
    finish(tmp_path, grown, 0)
    if forgotten:
        forget_plan(tmp_path / "plans", plan.name)
        forget_plan(tmp_path / "plans", grown.name)
    (tmp_path / "ledger" / OUTPUTS / f"{shard_name(plan.name, 1)}.parquet").unlink()
    for prompts in (("a", "bb", "ccc", "dddd"), ("a", "bb", "ccc")):
        healed = plan_for(tmp_path, *prompts)
        for shard in healed.shards:
            finish(tmp_path, healed, shard)
        assert texts(tmp_path, *prompts) == [f"to {prompt}" for prompt in prompts]


def test_other_conditions_are_other_work() -> None:
    (item,) = work("a")
    other = Conditions("tiny/llama", "a" * 40, "bfloat16", "1")
    assert item.key(HERE) != item.key(other)


def test_outputs_of_older_ledgers_keep_their_keys() -> None:
    """Computed before there was any decoding but the greedy one."""
    texts = Work("a", (("x", 0.5), ("y", 0.5)), 8, "t", "e"), Work("a", (("x", 1.0),), 8, composition='["cat", {}]')

    keys = [item.key(HERE) for item in (*texts, Work("a", (), 8, options=("b", "c")))]

    assert keys == [
        "17ef9ca95dc682df54f00065ff9f1b12",
        "c2fa4fa15d5d127717219d95434e7697",
        "e6c1a29904cb5836b9017a86dd549539",
    ]


def test_samples_of_one_prompt_are_outputs_of_their_own(tmp_path: Path) -> None:
    drawn = replace(HERE, decoding='{"temperature": 1.0}')
    asked = [Work("a", (), 3, example=name, sample=name) for name in ("1", "2", "1")]

    plan = make_plan(tmp_path / "plans", Ledger(tmp_path / "ledger"), asked, drawn, 9)

    shard = read_shard(tmp_path / "plans", plan.name, 0)
    assert sorted(item.sample for item in shard.work) == ["1", "2"]
    assert shard.conditions == drawn


def test_answers_come_from_the_plans_own_fragments_and_from_older_ones(tmp_path: Path) -> None:
    first = plan_for(tmp_path, "a", "bb")
    finish(tmp_path, first, 0)
    second = plan_for(tmp_path, "bb", "ccc")
    finish(tmp_path, second, 0)
    (tmp_path / "ledger" / OUTPUTS / "other.parquet").write_bytes(b"never read where the plan has all")

    own = answers_of(Ledger(tmp_path / "ledger"), work("ccc"), HERE, second.name)

    (tmp_path / "ledger" / OUTPUTS / "other.parquet").unlink()
    assert own == ["to ccc"]
    mixed = answers_of(Ledger(tmp_path / "ledger"), work("ccc", "bb", "a"), HERE, second.name)
    assert mixed == ["to ccc", "to bb", "to a"]


def test_a_text_that_was_never_made_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        texts(tmp_path, "a")


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "a")
    (tmp_path / "plans" / f"{plan.name}.parquet").write_bytes(b"x")
    with pytest.raises(SnapshotError, match=r"A plan is damaged.* Delete that file"):
        plan_for(tmp_path, "a")


def test_shards_and_texts_must_be_as_many(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, "a", "bb")
    with pytest.raises(ValueError, match="shorter"):
        finish_shard(Ledger(tmp_path / "ledger"), read_shard(tmp_path / "plans", plan.name, 0), ["x"])
    assert plan_for(tmp_path, "a", "bb").shards == {0: 2}
