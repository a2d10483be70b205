"""The flow `refresh`: crawl, validate, score, publish, and fit where routers are to be trained.

Knows: the order of stages, where shards run. Does not know: what a stage does.
Runs embedded (`lorauter refresh`) and, unchanged, as a deployment of prefect.yaml.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.home.home import open_home
from flows.prefect_runtime.artifacts import link_page
from flows.prefect_runtime.secret_parameters import flow_without_secrets
from flows.publish.run_record import Run
from flows.stages import crawl, fit, page_beside, publish, read_base, score, validate

# Requests are retried where they are made (catalog/hub); a stage that failed would fail again.
crawl_task = task(crawl, name="crawl", cache_policy=NO_CACHE)
validate_task = task(validate, name="validate", cache_policy=NO_CACHE)
publish_task = task(publish, name="publish", cache_policy=NO_CACHE)
fit_task = task(fit, name="fit", cache_policy=NO_CACHE)


@flow_without_secrets(name="refresh", log_prints=True, persist_result=False, validate_parameters=False)
def refresh(settings: dict[str, Any] | None = None, force: str = "") -> dict[str, Any]:
    """Bring the catalog up to date and publish it. Returns the snapshot id and what the run cost.

    Args:
        force: a reason to publish even a catalog that is much worse than the published one.
        settings: settings that outweigh the environment's, e.g. {"home": "/data/catalog", "base": "org/name"}.
    """
    home = open_home(**(settings or {}))
    run = Run.begin("refresh")
    run = replace(run, listed=crawl_task(home).listed)
    judged = validate_task(home)
    cost = {"spent": 0, "exhaustive": 0, "new": 0}
    known = {base.id: base for base in judged.bases}
    for id_ in home.wanted.bases:
        base = known.get(id_) or read_base(home, id_)
        scores = score(home, base)
        snapshot = publish_task(home, base, scores, run, force)
        if home.settings.fit:
            snapshot = fit_task(home, base=base.id).snapshot
        run = Run.begin("refresh")  # the next base took what comes from here
        cost = {name: so_far + getattr(scores, name) for name, so_far in cost.items()}
    if page := page_beside(home, snapshot):
        link_page(page)
    return {"snapshot": snapshot.id, "folder": str(snapshot.folder), "evaluations": cost}
