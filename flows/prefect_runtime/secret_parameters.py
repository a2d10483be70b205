"""Flows whose settings may hold a secret: it is used, and never stored.

Knows: how Prefect turns parameters into what its database keeps, which settings are secrets. Does not know: flows.

Prefect keeps the parameters of every run, and shows them to whoever may open its page. A run that is called in this
process works with what it was given; what is kept has no token. A run that is asked for through the server has no
other way than its database: there the token comes from LORAUTER_TOKEN or HF_TOKEN of the worker's environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefect import Flow

SECRETS = ("token",)


class FlowWithoutSecrets(Flow):  # type: ignore[misc]
    """A flow whose parameter `settings` is kept without its secrets."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """What Prefect keeps of the parameters."""
        kept: dict[str, Any] = super().serialize_parameters({n: without_secrets(v) for n, v in parameters.items()})
        return kept


def flow_without_secrets(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As Prefect's `flow`, with the same options."""
    return lambda body: FlowWithoutSecrets(body, **options)


def without_secrets(value: Any) -> Any:
    """Settings without those that are secrets; anything else as it is."""
    return {k: v for k, v in value.items() if k not in SECRETS} if isinstance(value, Mapping) else value
