"""What a forecast assumes where the home does not know yet: settings of the table [plan].

Knows: names, defaults and where the defaults come from. Does not know: how figures are made of them
(flows/plan/forecast).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from catalog.errors import SettingError


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Stand-ins for what is not counted yet.

    Args:
        adapters: repos that the hub lists for the base.
        admitted: share of them that the rules let through.
        header_bytes: of config and header an adapter; 35 KiB measured by `make bench-crawl`.
        adapter_bytes: weights of an adapter; rank 16 on the attention of a 7B model in fp16.
        tasks: how many there are.
        examples: validation examples of each.
        prompt_tokens: of an example.
        new_tokens: of an answer.
        share_low: least share of all evaluations that the strategy runs; racing took 0.06 with 200 adapters a task.
        share: the share that is expected.
        share_high: the largest; racing took 0.17 with 63 adapters a task.
        parameters: of the base; its weights take two bytes each.
        encoder_bytes: of the sentence encoder.
        flops: operations a second that the device sustains in a prefill; a third of an A100's 312e12.
        bytes_per_second: what the device reads of its memory; two thirds of an A100's 2.0e12.
        batch_rows: rows that decode together.
    """

    adapters: int = 1000
    admitted: float = 0.5
    header_bytes: int = 35 * 1024
    adapter_bytes: int = 32 * 1024**2
    tasks: int = 10
    examples: int = 50
    prompt_tokens: int = 150
    new_tokens: int = 16
    share_low: float = 0.06
    share: float = 0.10
    share_high: float = 0.17
    parameters: float = 7e9
    encoder_bytes: int = 90 * 1024**2
    flops: float = 1e14
    bytes_per_second: float = 1.3e12
    batch_rows: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise SettingError(f"plan {field.name} is {getattr(self, field.name)}.", "Use a number above 0.")
        if not self.share_low <= self.share <= self.share_high <= 1 or self.admitted > 1:
            raise SettingError("Shares of the plan are out of order.", "Use share_low ≤ share ≤ share_high ≤ 1.")
