"""A generated hub in a process of its own, for programs that measure or torment a crawl.

Knows: how it is started and spoken to (flows/mirror/control). Does not know: what is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Self

BASE = "bench/llama"


class GeneratedHub:
    """Serves `repos` adapters of BASE while the block runs; `options` are those of flows.mirror.generated."""

    def __init__(self, repos: int, *options: str) -> None:
        command = [sys.executable, "-m", "flows.mirror.generated", "--repos", str(repos), "--base", BASE, *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.repos = repos
        self.endpoint = self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def tell(self, **line: Any) -> dict[str, Any]:
        """One line of control, and its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit("the hub ended")
        return line
