"""A route that a policy chose: one adapter, and how it came to be chosen.

Knows: what has to be kept with an answer, so that its score can teach the policy. Does not know: any policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from lorauter.routing.routes import Route


@dataclass(frozen=True, slots=True)
class PolicyRoute(Route):
    """Where a policy sends a query.

    Args:
        policy: lineage of the policy's state.
        policy_version: version of the state.
        context: the query as the policy saw it.
        propensity: the probability that it chose this adapter.
        resident: whether the adapter was to be resident; true of the base.
    """

    policy: str = ""
    policy_version: int = 0
    context: tuple[float, ...] = ()
    propensity: float = 1.0
    resident: bool = True
