"""POLAR (arXiv 2604.16583) as a router: a policy that learns from scores which adapter answers, and which stay loaded.

Knows: how a query becomes a context and an arm a route. Does not know: how the policy learns (lorauter/bandit), where
its state lies.

A query's adapter follows from the state and its text alone: whether a query probes is drawn by a hash of the state's
seed and version and the text. So a batch may be cut and resumed, and an answer's propensity is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalog.tasks.task import content_hash
from lorauter.bandit.contexts import Basis
from lorauter.bandit.options import PolicyOptions
from lorauter.bandit.state import PolarState, fresh_state, with_arms
from lorauter.routing.policy_route import PolicyRoute
from lorauter.routing.routes import Masked, TaskMatch

if TYPE_CHECKING:
    from lorauter.routing.encoder import Encoder
    from lorauter.routing.task_index import TaskIndex

CAPACITY = 64
_DIGITS = 13  # hex digits that a float holds exactly


def fresh_policy(index: TaskIndex, options: PolicyOptions | None = None, capacity: int = CAPACITY) -> PolarState:
    """A policy over an index that has learned nothing: it answers with the base, and probes.

    Args:
        options: its constants.
        capacity: places of the bank that it will answer by.
    """
    own = options or PolicyOptions()
    basis = Basis.of(index.embeddings, own.components)
    texts = index.base, index.base_sha, index.encoder.hash
    state = fresh_state(own.polar(capacity), basis, *texts, own.load_cost, own.seed)
    return with_arms(state, index.adapters)


class PolarRouter:
    """Chooses one published adapter, or the base, for each query.

    Args:
        index: the tasks. They choose nothing; a route names the nearest, whose template a prompt may need.
        encoder: loads the sentence encoder on its first call.
        state: the policy.
        top_k: tasks that a route names.
    """

    name = "polar"

    def __init__(self, index: TaskIndex, encoder: Callable[[], Encoder], state: PolarState, top_k: int) -> None:
        self._index, self._encoder, self._state, self._top_k = index, encoder, state, top_k

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[PolicyRoute]:
        """One adapter of weight 1 a query, or none. There are no tasks to mask."""
        if not queries:
            return []
        vectors = self._encoder().encode(list(queries))
        contexts = self._state.basis.contexts(vectors)
        similarities = self._index.similarities(vectors)
        residents = frozenset(self._state.resident)
        return [self._route(*of_query, residents) for of_query in zip(queries, contexts, similarities, strict=True)]

    def _route(
        self,
        query: str,
        context: npt.NDArray[np.float64],
        similarities: npt.NDArray[np.float32],
        residents: frozenset[str],
    ) -> PolicyRoute:
        state = self._state
        arm, propensity = state.polar.choose(context, np.array(self._draw(query)))
        adapter = state.names[int(arm)]
        nearest = similarities.argsort(kind="stable")[::-1][: self._top_k].tolist()
        return PolicyRoute(
            mixture=((adapter, 1.0),) if adapter else (),
            tasks=tuple(TaskMatch(self._index.tasks[n], float(similarities[n]), 0.0) for n in nearest),
            confidence=float(similarities[nearest[0]]) if nearest else float("nan"),
            policy=state.lineage,
            policy_version=state.version,
            context=tuple(context.tolist()),
            propensity=float(propensity),
            resident=not adapter or adapter in residents,
        )

    def _draw(self, query: str) -> float:
        """A number from 0 on and below 1."""
        told = content_hash(["polar", self._state.seed, self._state.version, query], _DIGITS)
        return int(told, 16) / float(16**_DIGITS)
