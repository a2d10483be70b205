"""What is asked of a batch of answers, checked by its words alone: before Prefect starts and before anything is loaded.

Knows: routers, compositions, decoding and bounds by name. Does not know: queries, snapshots, models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.answer.prompts import TASK, answer_stops, check_template
from lorauter.compositions import MIXTURE, spelled
from lorauter.compositions.base import CompositionOptions
from lorauter.engine.decoding import GREEDY, Decoding
from lorauter.routers import MAJORITY, ROUTERS, refuse_gates
from warehouse.queries.queries import NEW_TOKENS, check_new_tokens


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How queries are routed, prompted and decoded.

    Args:
        routers: names of `lorauter.routers.ROUTERS`, or MAJORITY: the most frequent validation target of the query's
            task, without a model.
        template: how an input becomes a prompt, see flows/answer/prompts.
        compose: a name of `lorauter.compositions.COMPOSITIONS`.
        density: of the merges that thin out.
        decoding: greedy, or how tokens are drawn.
        stop: texts that end an answer; () leaves it to end-of-text and the bound, None to the template: see
            `answer_stops`.
        max_new_tokens: bound of an answer; a row's own wins.

    Raises:
        SettingError: a router, a template or a composition does not exist, they do not go together, or a number makes
            no sense.
    """

    routers: tuple[str, ...] = ("lorauter",)
    template: str = TASK
    compose: str = MIXTURE
    density: float = 0.5
    decoding: Decoding = GREEDY
    stop: str | Sequence[str] | None = None
    max_new_tokens: int = NEW_TOKENS

    def __post_init__(self) -> None:
        for router in self.routers:
            ROUTERS.check(router, (MAJORITY,))
        check_new_tokens(self.max_new_tokens)
        if self.compose != MIXTURE:
            refuse_gates(self.routers, "composed: it sums outputs by itself", "Leave --compose at mixture")
        check_template(self.template)
        answer_stops(self.template, self.stop)
        spelled(self.compose, CompositionOptions(density=self.density))

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends every answer of the batch."""
        return answer_stops(self.template, self.stop)

    @property
    def composition(self) -> str:
        """The composition with its settings, as outputs are known by."""
        return spelled(self.compose, CompositionOptions(density=self.density))
