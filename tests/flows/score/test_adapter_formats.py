"""Which prompt format an adapter was trained in: read over HTTP, detected, kept, and published with its evidence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.adapters.adapter import AdapterId
from catalog.bases.base import Base
from catalog.errors import HubDown
from catalog.formats import detect as detector
from catalog.formats.detect import Evidence
from catalog.formats.format import PromptFormat
from catalog.hub.client import COUNT, Hub
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import hub_of, ledger_of
from flows.mirror.accounts import Account
from flows.mirror.faults import Faults
from flows.mirror.server import HubServer, serve_in_thread
from flows.publish.run_record import Run
from flows.score import formats as stage
from flows.score.cards import Cards
from flows.score.formats import Formats
from flows.stages import crawl, forecast, publish, score, validate
from lorauter.formats.chat_templates import ChatTemplate, Limits, chat_format
from warehouse.ledger.ledger import Ledger
from warehouse.records.formats import StoredFormats, StoredPromptFiles
from warehouse.records.pool import Pool
from warehouse.snapshots.snapshot import Snapshot
from warehouse.sql.session import connect, run
from warehouse.tasks.folder import read_tasks, store_task

BASE = "tiny/llama"
TRAINED = Base(BASE, "b" * 40, {})
ALPACA = """
# Letters

```python
prompt = '''Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
{question}

### Response:
'''
```
"""
SAYS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}{{ '<me>' if add_generation_prompt }}"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a * b }}{% endfor %}{% endfor %}"
ENDS = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{{ ' [me]' if add_generation_prompt }}"
)
OWN = Evidence("own", "tokenizer", 0.45, "it has a chat template", "<user>{input}</><me>", ("</>",))


@dataclass
class World:
    """A hub of repos that hold nothing but texts, and a home that has listed them."""

    hub: HubServer
    home: Home

    @property
    def ledger(self) -> Ledger:
        return ledger_of(self.home)

    @property
    def formats(self) -> Formats:
        return Formats(self.ledger, hub_of(self.home), self.home.wanted)

    def adapters(self) -> list[str]:
        return sorted({member.id.key for member in Pool(self.ledger, self.home.wanted).members()})

    def learn(self) -> dict[str, tuple[Evidence, ...]]:
        """Read, detect, and give the evidence by name."""
        self.formats.read(self.adapters())
        self.formats.detect(TRAINED, self.adapters())
        return self.evidence()

    def evidence(self) -> dict[str, tuple[Evidence, ...]]:
        told = StoredFormats(self.ledger, BASE).of(self.adapters())
        return {AdapterId.parse(key).name: every for key, every in told.items()}


def write(folder: Path, repos: Mapping[str, Mapping[str, str]]) -> None:
    """Repos as files by name; each has a config, and a card that names the base."""
    for repo, files in repos.items():
        card = f"---\nbase_model: {BASE}\nlibrary_name: peft\n---\n{files.get('README.md', '# An adapter')}"
        for name, text in {"adapter_config.json": "{}", **files, "README.md": card}.items():
            path = folder / repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    repos = {
        "ann/alpaca": {"README.md": ALPACA},
        "bob/chat": {"chat_template.jinja": SAYS, "tokenizer_config.json": '{"eos_token": "<unread>"}'},
        "cleo/nothing": {},
    }
    write(folder, repos)
    with serve_in_thread(folder, tokens={"hf_ours": Account("us")}) as served:
        yield served


@pytest.fixture
def world(tmp_path: Path, hub: HubServer) -> World:
    home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE, token="hf_ours")
    crawl(home)
    return World(hub, home)


def files_asked(before: int) -> int:
    return COUNT.file - before


def test_every_repo_says_its_format_or_nothing_for_at_most_one_request_beside_the_card(world: World) -> None:
    before = COUNT.file

    told = world.learn()

    assert {name: [(one.format, one.source) for one in every] for name, every in told.items()} == {
        "ann/alpaca": [("alpaca", "card code")],
        "bob/chat": [("own", "tokenizer")],
        "cleo/nothing": [],
    }
    assert told["bob/chat"] == (OWN,)
    assert files_asked(before) == 3 + 1


def test_nothing_is_asked_or_detected_twice_and_the_cards_words_are_there_too(world: World) -> None:
    world.learn()
    before, rows = COUNT.file, world.ledger.read("formats").num_rows

    world.learn()
    words = Cards(world.ledger, hub_of(world.home), world.home.wanted, 1).texts(world.adapters())

    assert (files_asked(before), world.ledger.read("formats").num_rows) == (0, rows)
    assert words == ["alpaca Letters", "chat An adapter", "nothing An adapter"]


def test_a_newer_detector_looks_again_at_what_was_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told = world.learn()
    before = COUNT.file

    monkeypatch.setattr(detector, "VERSION", "2")
    detector.detector_version.cache_clear()
    again = world.learn()
    versions = {row["detector"].partition("-")[0] for row in world.ledger.current("formats")}
    detector.detector_version.cache_clear()

    assert (again, versions, files_asked(before)) == (told, {"2"}, 0)


def test_the_template_in_a_tokenizers_config_speaks_where_no_other_file_does(world: World, folder: Path) -> None:
    config = {"chat_template": CHATML, "eos_token": "<|im_end|>"}
    write(folder, {"dan/older": {"tokenizer_config.json": json.dumps(config)}})
    write(folder, {"dan/parts": {"v2/adapter_config.json": "{}", "chat_template.jinja": CHATML}})
    crawl(world.home)

    told = world.learn()

    chatml = (Evidence("chatml", "tokenizer", 0.45, "it has a chat template"),)
    assert (told["dan/older"], told["dan/parts:v2"]) == (chatml, chatml)


def test_a_token_that_a_template_writes_is_looked_up_and_without_it_the_template_is_not_used(
    world: World, folder: Path
) -> None:
    tokens = {"tokenizer_config.json": '{"eos_token": {"content": "</s>"}}'}
    write(folder, {"dan/told": {"chat_template.jinja": ENDS, **tokens}, "dan/untold": {"chat_template.jinja": ENDS}})
    crawl(world.home)
    before = COUNT.file

    told = world.learn()

    refused = "it has a chat template; it writes eos_token, which nobody tells"
    assert told["dan/told"] == (replace(OWN, template="[user] {input}</s> [me]", stops=("</s>",)),)
    assert told["dan/untold"] == (Evidence("repo_chat", "tokenizer", 0.45, refused),)
    assert files_asked(before) == 3 + 1 + 3 + 2


def test_hostile_files_are_told_of_and_harm_nobody(world: World, folder: Path) -> None:
    write(
        folder,
        {
            "eve/endless": {"chat_template.jinja": ENDLESS},
            "eve/large": {"chat_template.jinja": "x" * (200 << 10), "tokenizer_config.json": " " * (3 << 20)},
            "eve/wordy": {"chat_template.jinja": "{{ 'Be kind. ' * 6000 }}" + SAYS},
            "eve/half": {"tokenizer_config.json": '{"chat_template": "\\ud800", "eos_token": "\\udc00"}'},
            "eve/nested": {"tokenizer_config.json": "[" * 100_000},
            "eve/fences": {"README.md": "```\n" * 50_000},
        },
    )
    (folder / "eve/half/README.md").write_bytes(b"---\nbase_model: tiny/llama\nlibrary_name: peft\n---\n\xff\x00\xfe")
    crawl(world.home)

    told = world.learn()

    assert [(one.format, one.source) for one in told.pop("eve/endless")] == [("repo_chat", "tokenizer")]
    assert [one.format for one in told.pop("eve/wordy")] == ["repo_chat"]
    assert {name: every for name, every in told.items() if name.startswith("eve/")} == {
        "eve/large": (),
        "eve/half": (),
        "eve/nested": (),
        "eve/fences": (),
    }
    assert told["bob/chat"] == (OWN,)


def test_a_template_that_was_not_rendered_in_time_is_tried_again_by_the_next_run_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def learn(seconds: float) -> Evidence:
        """What a run says of bob's adapter on a machine that has so many seconds for a template."""

        def asked(template: ChatTemplate, **_: Limits) -> PromptFormat:
            tried.append(template.text)
            return chat_format(template, limits=Limits(wall=seconds))

        monkeypatch.setattr(stage, "chat_format", asked)
        formats = world.formats
        formats.read(world.adapters())
        formats.detect(TRAINED, world.adapters())
        formats.detect(TRAINED, world.adapters())  # as after the races: still the same run
        return world.evidence()["bob/chat"][0]

    stage._render.cache_clear()
    slow, quick, later = learn(0.01), learn(60), learn(0.01)

    assert (slow.format, slow.reason.rpartition(": ")[2]) == ("repo_chat", "it takes longer than 0.01 seconds.")
    assert (quick, later, tried) == (OWN, OWN, [SAYS, SAYS])
    rows = world.ledger.read("formats").to_pylist()
    runs = sorted((row["adapter"].partition("@")[0], row["too_slow"]) for row in rows)
    assert runs == [("ann/alpaca", 0), ("bob/chat", 0), ("bob/chat", 1), ("cleo/nothing", 0)]


def test_an_endless_template_is_given_up_after_three_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "chat_format", lambda one, **_: chat_format(one, limits=Limits(wall=0.01)))
    stage._render.cache_clear()

    for _ in range(5):
        world.learn()

    runs = [row["too_slow"] for row in world.ledger.read("formats").to_pylist() if row["adapter"].startswith("bob/")]
    assert sorted(runs) == [1, 2, 3]


def test_a_hub_in_trouble_leaves_an_adapter_without_evidence_and_is_asked_again(
    world: World, no_wait: None, capsys: pytest.CaptureFixture[str]
) -> None:
    world.hub.set_faults(Faults(broken=1.0))
    in_trouble = world.learn()
    said = capsys.readouterr().err
    world.hub.set_faults(None)

    later = world.learn()

    assert (in_trouble, later["bob/chat"], len(later)) == ({}, (OWN,), 3)
    assert "could not give the card or tokenizer files of 3 adapters; the next run asks again" in said


def test_a_refused_token_ends_the_run_and_an_interrupt_loses_nothing_that_came(world: World) -> None:
    class Interrupted(Hub):
        """Somebody presses Ctrl-C while the last card comes."""

        def read_start(self, repo: str, name: str, sha: str, limit: int) -> str:
            if repo == "cleo/nothing":
                raise KeyboardInterrupt
            return super().read_start(repo, name, sha, limit)

    options = replace(hub_of(world.home).options, readers=1)
    with pytest.raises(KeyboardInterrupt):
        replace(world.formats, hub=Interrupted(options)).read(world.adapters())
    stored = StoredPromptFiles(world.ledger)
    kept = [key.partition("@")[0] for key in world.adapters() if key in stored]
    world.hub.expire_tokens()

    with pytest.raises(HubDown, match="token"):
        world.formats.read(world.adapters())

    assert kept == ["ann/alpaca", "bob/chat"]


@pytest.mark.parametrize("config", ["[]", '{"auto_map": {"AutoTokenizer": ["code.Own", null]}}'])
def test_a_base_whose_tokenizer_files_are_odd_has_no_template_and_its_code_is_not_asked_for(
    world: World, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: str) -> str:
        raise KeyboardInterrupt  # transformers asks the terminal whether to run a base's code

    monkeypatch.setattr("builtins.input", asked)
    here = hub_of(world.home).local(BASE, TRAINED.sha)
    here.mkdir(parents=True)
    (here / "chat_template.jinja").write_text(SAYS, encoding="utf-8")
    (here / "tokenizer_config.json").write_text(config, encoding="utf-8")
    (here / ".whole").write_text("chat_template.jinja\n", encoding="utf-8")

    assert world.formats.to_try(TRAINED, world.adapters()) == {}


def test_the_bases_own_template_tells_a_copy_once_it_is_here(world: World, folder: Path) -> None:
    first = world.learn()["bob/chat"]
    here = hub_of(world.home).local(BASE, TRAINED.sha)
    here.mkdir(parents=True)
    (here / "chat_template.jinja").write_text(f"{SAYS}\n", encoding="utf-8")
    half_here = world.learn()["bob/chat"]
    (here / ".whole").write_text("chat_template.jinja\n", encoding="utf-8")

    copied = world.learn()["bob/chat"]
    shutil.rmtree(here)
    gone = world.learn()["bob/chat"]

    assert first == half_here == (OWN,)
    assert copied == gone == (Evidence("base_chat", "tokenizer", 0.5, "its chat template is a copy of the base's"),)


def test_the_plan_counts_the_files_that_are_still_to_be_read(world: World) -> None:
    from flows.plan.counts import counts_of

    verdict = {"base": BASE, "base_sha": "b" * 40, "admitted": True, "downloaded": True}
    rows = [{**verdict, "adapter": key, **_parts(key)} for key in world.adapters()]
    world.ledger.stamp("verdicts", rows)
    home = world.home

    def unread() -> int:
        return counts_of(world.ledger, home.wanted, home.task_folder, home.root / "hub", "no/encoder").unread_formats

    before = unread()
    figure = next(figure for figure in forecast(home) if figure.name == "file requests")
    world.formats.read(world.adapters())

    assert (before, unread()) == (4, 0)
    assert "4 cards and tokenizer files and at most 1 more" in figure.made_of
    assert (figure.low, figure.high) == (figure.value, figure.value + 1)  # of bob's template, until it is read


def _parts(key: str) -> dict[str, str]:
    id_ = AdapterId.parse(key)
    return {"repo": id_.repo, "path": id_.path, "sha": id_.sha}


def test_a_snapshot_holds_the_evidence_and_why_and_sql_tell_it(
    tmp_path: Path, tiny_hub_folder: Path, tiny_tasks: Path
) -> None:
    folder = shutil.copytree(tiny_hub_folder, tmp_path / "hub")
    card = folder / "ann/colours/README.md"
    card.write_text(card.read_text("utf-8") + ALPACA, encoding="utf-8")
    for owner in ("bob/animals", BASE):
        (folder / owner / "chat_template.jinja").write_text(SAYS, encoding="utf-8")
    with serve_in_thread(folder) as hub:
        home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
        for task in read_tasks(tiny_tasks)[:1]:
            store_task(home.task_folder, task)
        snapshot = published(home)
        before = COUNT.file
        second = published(home)
        asked = files_asked(before)

    with connect(snapshot, ledger_of(home)) as connection:
        view = "SELECT split_part(adapter, '@', 1), format, confidence, sure FROM adapter_formats"
        told = run(connection, view).fetchall()
    why = CliRunner().invoke(cli, ["--home", str(home.root), "why", "bob/animals"]).stdout.splitlines()
    assert told == [
        ("ann/colours", "alpaca", 0.9, True),
        ("bob/animals", "base_chat", 0.5, True),
        ("cleo/compass", None, None, False),
        ("wild/checkpoints:checkpoint-200", None, None, False),
    ]
    says = "  it was trained in the format base_chat (0.50, tokenizer: its chat template is a copy of the base's)"
    assert says in why
    assert (second.id, asked) == (snapshot.id, 0)


def published(home: Home) -> Snapshot:
    """The stages of a refresh, one behind the other."""
    crawl(home)
    base = validate(home).bases[0]
    return publish(home, base, score(home, base), Run.begin("refresh"))
