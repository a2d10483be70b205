"""The page on the architecture shows the house as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_drawing_is_todays() -> None:
    checked = subprocess.run(
        [sys.executable, "docs/draw_house.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, ""), "draw it anew: python docs/draw_house.py"
