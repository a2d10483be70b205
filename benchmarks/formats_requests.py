"""What knowing prompt formats costs in requests: files asked for beside the card, of each adapter that races.

    python -m benchmarks.formats_requests [--repos 1800] [--json OUT]

A generated hub holds adapters with the prompt files that real ones have. Crawl and validation go before, headers only;
then the stage reads what tells formats, as it does before the races. The hub counts.

Knows: which prompt files 72 wild adapters have. Does not know: what the files say (catalog/formats).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.formats.repo_files import TEMPLATE_NAME, TOKENIZER_NAME
from flows.home.home import open_home
from flows.home.parts import hub_of, ledger_of
from flows.mirror.generated import GeneratedShelf
from flows.mirror.limits import Limits
from flows.mirror.server import serve_in_thread
from flows.plan.counts import counts_of
from flows.score.formats import Formats
from flows.stages import crawl, validate
from warehouse.records.formats import StoredPromptFiles
from warehouse.records.verdicts import admitted_of_pool

BASE = "bench/llama"
_TOKENIZER = {TOKENIZER_NAME: json.dumps({"eos_token": "</s>", "bos_token": "<s>"}).encode()}
_TEMPLATE = b"{% for message in messages %}<|user|>\n{{ message['content'] }}{% endfor %}<|assistant|>\n"
_ENDED = _TEMPLATE + b"{{ eos_token if false }}"
MIX: Mapping[str, tuple[int, Mapping[str, bytes]]] = {
    "neither": (26, {}),
    "tokenizer_config.json alone": (28, _TOKENIZER),
    "chat_template.jinja that needs no other file": (13, {TEMPLATE_NAME: _TEMPLATE, **_TOKENIZER}),
    "chat_template.jinja that writes a token of tokenizer_config.json": (5, {TEMPLATE_NAME: _ENDED, **_TOKENIZER}),
}
"""How many wild adapters have which prompt files, and files of that kind.

Counted in the 72 of the 109 wild adapters (README of the shared data) whose repos were at hand whole, by the rules of
catalog/formats/repo_files: the adapter's own folder before the repo's root. Of the 41 among them whose format was read
by hand it is 9, 18, 9 and 5. Four of the 72 have no card.
"""


def measure(root: Path, repos: int) -> dict[str, Any]:
    """The requests of a generated hub of so many adapters; what was planned, what was made, what a second run makes."""
    shelf = GeneratedShelf(repos, BASE, texts=[files for count, files in MIX.values() for _ in range(count)])
    with serve_in_thread(shelf, limits=Limits(enforced=False)) as hub:
        home = open_home(home=root, endpoint=hub.endpoint, base=BASE)
        crawl(home)
        base = validate(home, download=False).bases[0]
        ledger = ledger_of(home)
        admitted = [*admitted_of_pool(ledger, home.wanted, base)]
        counts = counts_of(ledger, home.wanted, home.task_folder, home.root / "hub", "no/encoder")
        formats = Formats(ledger, hub_of(home), home.wanted)
        made = []
        for _ in range(2):
            before = hub.counts.resolvers
            formats.read(admitted)
            made.append(hub.counts.resolvers - before)
    stored = StoredPromptFiles(ledger)
    beside_the_card = made[0] - len(admitted)  # every generated repo has a card
    return {
        "repos": repos,
        "admitted": len(admitted),
        "read": sum(key in stored for key in admitted),
        "planned": [counts.unread_formats, counts.unread_formats + counts.further_formats],
        "requests": made[0],
        "requests beside the card, an adapter": round(beside_the_card / len(admitted), 3),
        "requests beside the card, a listed repo": round(beside_the_card / repos, 3),
        "requests of a second run": made[1],
        "mix of 72 wild adapters": {kind: count for kind, (count, _) in MIX.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=int, default=1_800)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="lorauter-bench-"))
    try:
        figures = measure(root, args.repos)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    told = json.dumps(figures, indent=2)
    print(told)
    if args.json:
        args.json.write_text(f"{told}\n")


if __name__ == "__main__":
    main()
