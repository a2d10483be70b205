"""Draws the house into docs/architecture.md: floors, rooms and what each room imports, from the imports themselves.

    python docs/draw_house.py            # rewrites the drawing between its two marks
    python docs/draw_house.py --check    # exit code 1 where the drawing is not today's

Knows: packages, their first lines, their imports. Does not know: what the words beside the drawing say.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
FLOORS = ("flows", "lorauter", "warehouse", "catalog")
BEGIN, END = "<!-- the house, drawn by docs/draw_house.py -->", "<!-- the end of the drawing -->"
_WIDTH = 118


def drawing() -> str:
    """The house as text: a floor a block, a room a line, every room above all that it imports."""
    graph = grimp.build_graph(*FLOORS, cache_dir=None)
    return "\n\n".join("\n".join(_floor(graph, floor)) for floor in FLOORS)


def _floor(graph: grimp.ImportGraph, floor: str) -> Iterator[str]:
    uses = {room: _uses(graph, room) for room in graph.find_children(floor)}
    below = {room: sorted(floor_of for floor_of in _floors_below(graph, room)) for room in uses}
    yield f"{floor}/   {_first_sentence(floor)}"
    heights = _heights(uses)
    for height, rooms in zip(range(len(heights) - 1, -1, -1), heights, strict=True):
        for room in rooms:
            name = room.partition(".")[2] + ("" if graph.find_children(room) else ".py")
            told = textwrap.shorten(_first_sentence(room), _WIDTH - 34, placeholder=" …")
            yield f"  {height}  {name:<18} {'·'.join(below[room]):<9} {told}".rstrip()


def _uses(graph: grimp.ImportGraph, room: str) -> set[str]:
    """The rooms of the same floor that a room imports."""
    floor = room.partition(".")[0]
    return {other for other in graph.find_children(floor) if other != room and _imports(graph, room, other)}


def _floors_below(graph: grimp.ImportGraph, room: str) -> set[str]:
    """First letters of the other floors that a room imports."""
    own = room.partition(".")[0]
    return {floor[0] for floor in FLOORS if floor != own and _imports(graph, room, floor)}


def _imports(graph: grimp.ImportGraph, importer: str, imported: str) -> bool:
    return graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)


def _heights(uses: Mapping[str, set[str]]) -> list[list[str]]:
    """Rooms by height, the highest first: a room stands one above the highest that it imports."""
    height: dict[str, int] = {}
    while len(height) < len(uses):
        ready = [room for room, used in uses.items() if room not in height and used <= height.keys()]
        if not ready:
            raise SystemExit(f"Rooms import in a circle: {sorted(uses.keys() - height.keys())}.")
        height |= {room: 1 + max((height[other] for other in uses[room]), default=-1) for room in ready}
    top = max(height.values(), default=0)
    return [sorted(room for room in height if height[room] == top - step) for step in range(top + 1)]


def _first_sentence(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, or check what is drawn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where it is not today's")
    check = parser.parse_args(arguments).check
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    now = f"{before}{BEGIN}\n```text\n{drawing()}\n```\n{END}{after}"
    if check:
        return int(now != page)
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
