"""`lorauter tasks add`: what is stored, what is told, and what is refused, through the command itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.formats.table import format_named, formats
from catalog.tasks.task import Example, Task, content_hash
from flows.cli.main import cli, main
from warehouse.tasks.folder import read_tasks

Run = Callable[..., tuple[str, str]]
WET = tuple(Example(f"Is it wet on day {n}?", "yes" if n % 2 else "no") for n in range(10))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def add(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `tasks add` in the home, and returns what was printed and told."""

    def run(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["lorauter", "--home", str(home), "tasks", "add", *map(str, arguments)])
        main()
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


@pytest.fixture
def refused(add: Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `tasks add`, which must fail, and returns the paragraph that was told."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            add(*arguments)
        assert stopped.value.code == 1
        return capsys.readouterr().err.strip()

    return run


def write(path: Path, rows: Iterator[Mapping[str, object]] | list[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_examples(path: Path, examples: tuple[Example, ...] = WET) -> Path:
    return write(path, [{"input": e.input, "target": e.target} for e in examples])


def test_a_template_may_be_any_named_format(tmp_path: Path, home: Path, add: Run) -> None:
    add(write_examples(tmp_path / "weather.jsonl"), "--template", "llama2")

    assert [task.template for task in read_tasks(home / "tasks")] == ["[INST] {input} [/INST]"]


def test_a_template_that_is_neither_name_nor_text_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    told = refused(write_examples(tmp_path / "weather.jsonl"), "--template", "lama2")

    assert " ".join(told.split()).startswith("Error: No prompt format is called 'lama2'. Near names: llama2, ")


def test_a_format_that_needs_an_instruction_is_refused_by_name_and_taken_as_a_text(
    tmp_path: Path, home: Path, add: Run, refused: Callable[..., str]
) -> None:
    source = write_examples(tmp_path / "weather.jsonl")
    listed = CliRunner().invoke(cli, ["tasks", "formats"]).output.splitlines()
    told = refused(source, "--template", "alpaca_short_input")
    text = json.loads(next(line for line in listed if line.startswith("alpaca_short_input\t")).split("\t")[1])

    add(source, "--template", text.replace("{instruction}", "Tell the weather."))

    assert "write what to do in place of {instruction}" in " ".join(told.split())
    template = "### Instruction:\nTell the weather.\n\n### Input:\n{input}\n\n### Response:\n"
    assert [task.template for task in read_tasks(home / "tasks")] == [template]


def test_formats_are_listed_a_line_each() -> None:
    listed = CliRunner().invoke(cli, ["tasks", "formats"]).output.splitlines()

    rows = {line.split("\t")[0]: [json.loads(part) for part in line.split("\t")[1:]] for line in listed}
    assert rows.keys() == formats().keys()
    assert rows["human_bot"] == ["<human>: {input}\n<bot>:", ["<human>"]]
    assert rows["alpaca_short_input"] == [
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        [],
        "not by its name: give this text, with what to do in place of {instruction}",
    ]


def test_flags_become_fields_columns_and_counts(tmp_path: Path, home: Path, add: Run) -> None:
    rows: list[Mapping[str, object]] = [{"q": e.input, "a": e.target, "o": ["yes", "no"]} for e in WET]
    source = write(tmp_path / "weather.jsonl", rows)
    flags = "--input-column q --target-column a --options-column o --metric lenient_match --template alpaca"
    more = "--max-new-tokens 4 --domain sky --adapter ann/wet --validation 4 --test 3"

    printed, told = add(source, *flags.split(), *more.split())

    [task] = read_tasks(home / "tasks")
    expected = tuple(Example(e.input, e.target, ("yes", "no")) for e in WET)
    drawn = sorted(expected, key=lambda e: content_hash(e.input))
    alpaca = format_named("alpaca").template()
    assert task == Task(
        *("weather", "lenient_match", tuple(drawn[:4]), tuple(drawn[4:7]), (), alpaca, 4, "ann/wet"),
        domain="sky",
    )
    assert printed == "weather: 4 validation, 3 test examples\n"
    assert told == "weather: 3 rows left over, asked for by no split\n"


def test_repeated_rows_are_told_on_stderr(tmp_path: Path, add: Run) -> None:
    source = write_examples(tmp_path / "t.jsonl", WET + WET[:1])

    printed, told = add(source)

    assert printed == "t: 10 validation, 0 test examples\n"
    assert told == f"t: 1 row dropped, with the input and target of an earlier row: {source}, row 11\n"


def test_nothing_is_stored_of_a_folder_with_a_bad_file(tmp_path: Path, home: Path, refused: Callable[..., str]) -> None:
    write_examples(tmp_path / "in" / "a.jsonl")
    bad = write(tmp_path / "in" / "b.jsonl", [{"input": "a", "target": 1}])

    said = refused(tmp_path / "in")

    assert said == (
        f"Error: {bad}, row 1: field target must be text that is not empty. "
        "Mend the file and run the command again; nothing was stored."
    )
    assert not (home / "tasks").exists()


def test_a_source_that_is_not_there_is_told(refused: Callable[..., str]) -> None:
    assert refused("no/such/file") == (
        "Error: no/such/file does not exist. Name a file, a folder, or a data set of the hub as org/name."
    )


@pytest.mark.parametrize("flag", ["--validation", "--test"])
def test_more_than_there_is_is_refused(tmp_path: Path, refused: Callable[..., str], flag: str) -> None:
    source = write_examples(tmp_path / "t.jsonl")

    assert refused(source, flag, 11) == (
        f"Error: {source}: 11 {flag[2:]} examples are asked for, there are 10 to draw from. "
        f"Ask for fewer with {flag}, or add rows; nothing was stored."
    )


def test_a_data_set_of_the_hub_is_downloaded_and_read(
    tmp_path: Path, home: Path, add: Run, dataset_hub: Callable[[Path], str]
) -> None:
    write_examples(tmp_path / "qa" / "data" / "validation.jsonl", WET[:6])
    write_examples(tmp_path / "qa" / "data" / "test-00000-of-00001.jsonl", WET[6:])
    (tmp_path / "qa" / "README.md").write_text("# qa")
    endpoint = dataset_hub(tmp_path / "qa")

    printed, told = add("org/qa", "--endpoint", endpoint)

    [task] = read_tasks(home / "tasks")
    assert (task, task.description) == (Task("qa", "exact_match", WET[:6], WET[6:]), f"Data set org/qa at {'5' * 40}.")
    assert (printed, told) == ("qa: 6 validation, 4 test examples\n", "")


def test_a_data_set_without_files_of_ours_is_told(
    tmp_path: Path, refused: Callable[..., str], dataset_hub: Callable[[Path], str]
) -> None:
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "qa.py").touch()

    said = refused("org/qa", "--endpoint", dataset_hub(tmp_path / "qa"))

    assert said.startswith("Error: Data set org/qa has no .jsonl, .json, .csv or .parquet files that were asked for.")


def test_what_is_neither_here_nor_on_the_hub_is_told(
    tmp_path: Path, refused: Callable[..., str], dataset_hub: Callable[[Path], str]
) -> None:
    hub = dataset_hub(tmp_path)

    said = refused("my/tasks", "--endpoint", hub)

    assert said == (
        f"Error: There is no file or folder my/tasks here. On the hub: data set my/tasks is not on {hub}, "
        "or is private or gated. Check the name, or set LORAUTER_TOKEN to a token that may read it."
    )


def test_clusters_stand_in_for_tasks(tmp_path: Path, home: Path, add: Run, tiny_hub: str) -> None:
    pets = tuple(Example(f"Which pet barks or purrs, number {n}?", "dog") for n in range(6))
    ways = tuple(Example(f"Which way does the compass needle point at mile {n}?", "north") for n in range(6))
    mixed = [example for pair in zip(pets, ways, strict=True) for example in pair]
    source = write_examples(tmp_path / "mixed.jsonl", tuple(mixed))

    printed, _ = add(source, "--clusters", 2, "--endpoint", tiny_hub)

    assert read_tasks(home / "tasks") == [
        Task("cluster-00", "exact_match", pets),
        Task("cluster-01", "exact_match", ways),
    ]
    assert printed == ("cluster-00: 6 validation, 0 test examples\ncluster-01: 6 validation, 0 test examples\n")


def test_clusters_of_an_earlier_run_are_told_of(tmp_path: Path, home: Path, add: Run, tiny_hub: str) -> None:
    source = write_examples(tmp_path / "t.jsonl")
    add(source, "--clusters", 2, "--endpoint", tiny_hub)

    _, told = add(source, "--clusters", 1, "--endpoint", tiny_hub)

    assert told.splitlines()[-1] == f"cluster-01: kept from an earlier run; delete what is not wanted in {home}/tasks"


def test_a_removed_task_is_gone_and_its_name_free(tmp_path: Path, home: Path, add: Run) -> None:
    (tmp_path / "wet.jsonl").write_text("".join(json.dumps({"input": e.input, "target": e.target}) + "\n" for e in WET))
    add(tmp_path / "wet.jsonl")

    removed = CliRunner().invoke(cli, ["--home", str(home), "tasks", "remove", "wet"])

    assert (removed.exit_code, removed.stderr, (home / "tasks" / "wet").exists()) == (0, "wet removed.\n", False)
    assert add(tmp_path / "wet.jsonl")[0].startswith("wet: 10 validation")


def test_removing_what_is_not_there_names_the_tasks(home: Path) -> None:
    removed = CliRunner().invoke(cli, ["--home", str(home), "tasks", "remove", "../x"])

    assert str(removed.exception).startswith("There is no task '../x'.")
