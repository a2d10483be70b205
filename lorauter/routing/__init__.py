"""Routing: what every router shares. Routes, the task index, the encoder, weights of tasks, filters.

Knows: the protocol `Router` and its parts. Does not know: any router (lorauter/routers), any engine.
"""

from lorauter.routing.routes import (
    Masked,
    Mixture,
    Question,
    ReadsQuestions,
    Route,
    Routed,
    Router,
    RouterOptions,
    TaskMatch,
)

__all__ = [
    "Masked",
    "Mixture",
    "Question",
    "ReadsQuestions",
    "Route",
    "Routed",
    "Router",
    "RouterOptions",
    "TaskMatch",
]
