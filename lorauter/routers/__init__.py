"""Routers, one small file a system. `ROUTERS` maps the names people use to them, packages' routers and gates too.

Knows: which routers there are. Does not know: snapshots' files, engines.

| name | source | needs besides the snapshot |
|---|---|---|
| lorauter | LORAUTER, arXiv 2601.21795 | encoder |
| discriminant, relatives | ours | encoder |
| vector_database | arXiv 2602.21222 | encoder |
| loraretriever | LoraRetriever, arXiv 2402.09997 | encoder |
| classifier | in the manner of DLP-LoRA, arXiv 2410.01497 | encoder |
| dlp_lora | DLP-LoRA, arXiv 2410.01497 | encoder, its trained state |
| mhr, poly | MHR, Poly, arXiv 2211.03831 | encoder, their trained states |
| two_stage | a reading of LORAUTER in two stages | encoder, its trained state |
| clusters | LORAUTER without task labels | encoder |
| logo, logo_entropy | LoGo, arXiv 2511.07129 | engine |
| arrow | Arrow, arXiv 2405.11157 | engine that answers: it is a gate |
| spectr | SpectR, arXiv 2504.03454 | engine that answers: it is a gate |
| lag | LAG, arXiv 2507.05346 | engine that answers: it is a gate |
| seqr | SEQR, arXiv 2509.18093 | engine that answers: it is a gate; adapters of one A |
| meteora | MeteoRA, arXiv 2405.13053 | training; engine that answers: it is a gate |
| ramole | RAMoLE, arXiv 2406.16989 | training, encoder; engine that answers: it is a gate |
| lora_flow | LoRA-Flow, arXiv 2402.11455 | training, encoder; engine that answers: it is a gate |
| lorahub | LoraHub, arXiv 2307.13269 | encoder, engine, nevergrad |
| polar | POLAR, arXiv 2604.16583 | encoder, scores of its answers |
| uniform, random, base | controls | nothing |
| oracle | control | each query's true task |

What each decides by, and how one is added: docs/add-a-router.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar, cast

from catalog.errors import SettingError
from catalog.plugins import Registry
from lorauter.gates.named import GATES
from lorauter.routers.base import BaseRouter
from lorauter.routers.by_weights import BY_WEIGHTS, GateRouters
from lorauter.routers.classifier import ClassifierRouter, fit_classifier
from lorauter.routers.clusters import ClustersRouter, fit_clusters
from lorauter.routers.discriminant import DiscriminantRouter
from lorauter.routers.dlp_lora import DlpLoraRouter
from lorauter.routers.lora_retriever import LoraRetrieverRouter
from lorauter.routers.lorahub import LearnedMixtures, LoraHubRouter
from lorauter.routers.oracle import OracleRouter
from lorauter.routers.packaged import GuardedMaker
from lorauter.routers.polar import PolarRouter, fresh_policy
from lorauter.routers.polytropon import SkillRouter
from lorauter.routers.random_adapter import RandomRouter
from lorauter.routers.retrieved_gate import lora_flow_router, ramole_router
from lorauter.routers.task_embedding import TaskEmbeddingRouter
from lorauter.routers.two_stage import TwoStageRouter
from lorauter.routers.uniform import UniformRouter
from lorauter.routers.vector_database import VectorDatabaseRouter
from lorauter.routing.routes import Router, RouterOptions
from lorauter.trained.state import TrainedState, no_state

if TYPE_CHECKING:
    from lorauter.bandit.state import PolarState
    from lorauter.engine.engine import Engine
    from lorauter.routing.encoder import Encoder
    from lorauter.routing.task_index import TaskIndex, TaskInputs

__all__ = ["MAJORITY", "POLAR", "ROUTERS", "RouterParts", "is_gate", "no_engine", "refuse_gates"]

Fitted = TypeVar("Fitted")


def no_engine() -> Engine:
    """The engine where there is none. Raises SettingError."""
    raise SettingError("This router lets the base model read the query, and there is none.", "Load it with an engine.")


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router may be built from.

    Args:
        index: the tasks, their embeddings, their published and declared adapters.
        encoder: loads the sentence encoder on its first call.
        inputs: reads the tasks' validation inputs.
        options: constants of the routers.
        truth: query → its true task, for the oracle.
        means: reads (task, adapter) → mean on the task.
        pool: every admitted adapter, sorted, for routers that look at adapters and at no score.
        doras: those of them that are DoRA, which gates cannot weigh.
        engine: loads the base on its first call, for routers that let it read the query.
        prompt_of: query → prompt as it is answered.
        policy: index → what `polar` has learned, for that index's adapters; nothing where nobody says.
        fits: what was fitted on the inputs, by name; parts with other adapters of the same tasks share it.
        state: gives a router's trained state by the router's name, checked against the catalog; raises SettingError
            where it was not trained for it.
    """

    index: TaskIndex
    encoder: Callable[[], Encoder]
    inputs: Callable[[], TaskInputs]
    options: RouterOptions
    truth: Mapping[str, str]
    means: Callable[[], Mapping[tuple[str, str], float]] = dict
    pool: tuple[str, ...] = ()
    doras: frozenset[str] = frozenset()
    engine: Callable[[], Engine] = no_engine
    prompt_of: Callable[[str], str] = str
    policy: Callable[[TaskIndex], PolarState] = fresh_policy
    fits: dict[str, object] = field(default_factory=dict, compare=False)
    state: Callable[[str], TrainedState] = no_state

    def fitted(self, name: str, fit: Callable[[], Fitted]) -> Fitted:
        """What `fit` makes of the inputs alone, made once."""
        if name not in self.fits:
            self.fits[name] = fit()
        return cast("Fitted", self.fits[name])


def _nearest(parts: RouterParts) -> TaskEmbeddingRouter:
    return TaskEmbeddingRouter(parts.index, parts.encoder, 1, parts.options.temperature)


def _lorahub(parts: RouterParts) -> LoraHubRouter:
    learned = LearnedMixtures(parts)
    return LoraHubRouter(_nearest(parts), learned, learned.spent)


MAJORITY = "majority"
"""No router: in a batch of answers, each task's most frequent target."""
POLAR = PolarRouter.name
"""The router whose answers are scored by people, and which learns from that."""
_BUILT_IN: Mapping[str, Callable[[RouterParts], Router]] = {
    "lorauter": lambda p: TaskEmbeddingRouter(p.index, p.encoder, p.options.top_k, p.options.temperature),
    "discriminant": lambda p: DiscriminantRouter(p.index, p.encoder, p.inputs, p.options, p.fitted),
    "relatives": lambda p: DiscriminantRouter(
        p.index, p.encoder, p.inputs, replace(p.options, fallback=0.0), p.fitted, "relatives"
    ),
    "vector_database": lambda p: VectorDatabaseRouter(
        p.index, p.encoder, p.inputs, p.options.neighbours, p.options.nucleus
    ),
    "loraretriever": lambda p: LoraRetrieverRouter(p.index, p.encoder, p.options.top_k),
    "classifier": lambda p: ClassifierRouter(
        p.index, p.encoder, lambda: p.fitted("classifier", lambda: fit_classifier(p.inputs())), p.options.nucleus
    ),
    "dlp_lora": lambda p: DlpLoraRouter(p.index, p.encoder, lambda: p.state("dlp_lora")),
    "mhr": lambda p: SkillRouter("mhr", _nearest(p), lambda: p.state("mhr")),
    "poly": lambda p: SkillRouter("poly", _nearest(p), lambda: p.state("poly")),
    "two_stage": TwoStageRouter,
    "clusters": lambda p: ClustersRouter(
        p.index,
        p.encoder,
        lambda: p.fitted(f"{p.options.clusters} clusters", lambda: fit_clusters(p.inputs(), p.options.clusters)),
        p.means,
        p.options.top_k,
        p.options.temperature,
    ),
    "uniform": lambda p: UniformRouter(p.index),
    "random": lambda p: RandomRouter(p.index),
    "oracle": lambda p: OracleRouter(p.index, p.truth),
    "base": lambda p: BaseRouter(),
    **BY_WEIGHTS,
    "ramole": ramole_router,
    "lora_flow": lora_flow_router,
    "lorahub": _lorahub,
    POLAR: lambda p: PolarRouter(p.index, p.encoder, p.policy(p.index), p.options.top_k),
}
ROUTERS: Registry[Callable[[RouterParts], Router]] = Registry(
    "lorauter.routers",
    "router",
    _BUILT_IN,
    wanted="a function of lorauter.routers.RouterParts",
    also=GateRouters(),
    reserved=(MAJORITY,),
    guarded=GuardedMaker,
)
"""By name: these, all gates, and those that packages bring (catalog/plugins)."""


def is_gate(router: str) -> bool:
    """Whether a router's routes are a gate, which weighs adapters token by token."""
    return router in GATES.built_in or (router not in ROUTERS.built_in and router in GATES)


def refuse_gates(routers: Sequence[str], doing: str, step: str) -> None:
    """Raise SettingError for a router whose routes are gates: it cannot be `doing`."""
    for name in routers:
        if is_gate(name):
            raise SettingError(
                f"The router {name!r} weighs adapters token by token and cannot be {doing}.",
                f"{step}, or choose another router.",
            )
