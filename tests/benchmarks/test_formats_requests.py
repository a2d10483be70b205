"""What knowing prompt formats costs in requests, on a hub with the prompt files that real adapters have."""

from __future__ import annotations

from pathlib import Path

from benchmarks.formats_requests import measure


def test_an_adapter_that_races_costs_less_than_one_file_beside_its_card_and_others_nothing(tmp_path: Path) -> None:
    figures = measure(tmp_path, 40)

    admitted, (least, most) = figures["admitted"], figures["planned"]
    assert 0 < admitted == figures["read"] < 40
    assert admitted < least <= figures["requests"] <= most <= 3 * admitted
    assert 0.5 < figures["requests beside the card, an adapter"] <= 1
    assert figures["requests of a second run"] == 0
