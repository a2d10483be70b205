"""The flow `answer_batch`: route queries by a published snapshot, answer them, store the answers as Parquet.

Knows: its parameters, as Prefect holds them. Does not know: how queries are answered (flows/answer/batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.answer.options import AnswerOptions
from flows.home.home import open_home
from flows.prefect_runtime.secret_parameters import flow_without_secrets
from flows.stages import answer
from lorauter.compositions import MIXTURE
from lorauter.engine.decoding import decoding_of
from warehouse.queries.queries import NEW_TOKENS


@flow_without_secrets(name="answer-batch", persist_result=False, validate_parameters=False)
def answer_batch(
    queries: str,
    out: str,
    routers: Sequence[str] = ("lorauter",),
    snapshot: str | None = None,
    template: str = "task",
    compose: str = MIXTURE,
    density: float = 0.5,
    settings: dict[str, Any] | None = None,
    sampling: dict[str, Any] | None = None,
    stop: str | Sequence[str] | None = None,
    max_new_tokens: int = NEW_TOKENS,
) -> dict[str, Any]:
    """Answer a file of queries by each router and write one Parquet file. Killed, it goes on where it was.

    Args:
        queries: .jsonl, .csv or .parquet with a column `input`, and optionally id, task, target, metric,
            max_new_tokens.
        out: the Parquet file to write.
        routers: names of `lorauter.routers.ROUTERS`, or "majority": the most frequent validation target of the
            query's task, without a model.
        snapshot: a folder, an id or a date; the current one where left out.
        template: how an input becomes a prompt, see flows/answer/prompts.
        compose: a name of `lorauter.compositions.COMPOSITIONS`.
        density: of the merges that thin out.
        settings: as for `refresh`.
        sampling: temperature, top_p, top_k and seed of `lorauter.engine.decoding.Decoding`; greedy where left out. A
            row's draws depend on its own prompt, adapters and id: rows with one id and one input get one text.
        stop: texts that end an answer, see `lorauter.engine.stopping.cut_at_stop`; () leaves it to end-of-text and
            the bound. Where left out, a line's end and the stops of the template's format do.
        max_new_tokens: bound of an answer; a row's own column max_new_tokens wins.

    Returns:
        How many answers the file holds, how many were newly made, how many rows of the file have an error, and the
        snapshot's id.

    Raises:
        SettingError: an argument or setting is wrong. TaskError: the queries cannot be read.
    """
    decoding = decoding_of(sampling or {})
    options = AnswerOptions(tuple(routers), template, compose, density, decoding, stop, max_new_tokens)
    done = answer(open_home(**(settings or {})), Path(queries), Path(out), options, snapshot)
    return {"answers": done.answers, "new": done.new, "failed": done.failed, "snapshot": done.snapshot, "out": out}
