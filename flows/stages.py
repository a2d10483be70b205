"""The stages on a home: where settings become the parts that each stage takes.

Knows: which part of the settings a stage needs, and how it is opened (flows/home/parts). Does not know: what a stage
does. Commands, flows, the demo and whoever scripts a home call these; a stage itself knows no home.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flows.home.parts import (
    adapter_folder,
    conditions_on,
    hub_of,
    ledger_of,
    model_folder,
    open_encoder,
    snapshot_of,
    storage_of,
)

if TYPE_CHECKING:
    from catalog.bases.base import Base
    from catalog.curation import Act
    from catalog.tasks.task import Task
    from flows.answer.batch import Answered
    from flows.answer.export import Exported, ExportOptions
    from flows.answer.feedback import Told
    from flows.answer.options import AnswerOptions
    from flows.answer.published_base import PublishedBase
    from flows.answer.route_texts import RouteOptions
    from flows.crawl.listings import Crawled
    from flows.evaluate.evaluate import Alter, EvaluateOptions, Evaluation
    from flows.fit.fit import FitDone
    from flows.home.doctor import Check
    from flows.home.home import Home
    from flows.page.write import PageSources
    from flows.plan.forecast import Figure
    from flows.publish.run_record import Run
    from flows.score.score import Racetrack, Scores
    from flows.tasks.add import Say, Source
    from flows.validate.verdicts import Judged
    from lorauter.bandit.state import PolarState
    from lorauter.routing.encoder import Encoder
    from lorauter.routing.explain import Explainer
    from lorauter.routing.task_index import TaskIndex
    from lorauter.train.fit import CatalogFacts
    from warehouse.snapshots.snapshot import Snapshot


def crawl(home: Home, full: bool = False, with_bases: bool = True) -> Crawled:
    """Bring the listings of what the settings want up to date. As `flows.crawl.listings.crawl`."""
    from flows.crawl import listings
    from warehouse.ledger.migrations import begin

    begin(storage_of(home))
    return listings.crawl(ledger_of(home), hub_of(home), home.wanted, home.settings.sweep_days, full, with_bases)


def validate(home: Home, download: bool = True) -> Judged:
    """Bring every adapter of the pool to a verdict. As `flows.validate.verdicts.validate`."""
    from flows.validate import verdicts

    options = verdicts.ValidateOptions(home.settings.policy, home.settings.sweep_days, download)
    return verdicts.validate(ledger_of(home), hub_of(home), partial(adapter_folder, home), home.wanted, options)


def read_base(home: Home, id_: str | None = None) -> Base:
    """A base of the settings, their own by default. As `flows.validate.bases.read_base`."""
    from flows.validate import bases

    id_ = id_ or home.settings.base
    return bases.read_base(ledger_of(home), hub_of(home), id_, home.wanted.revision_of(id_))


def score(home: Home, base: Base) -> Scores:
    """Score the admitted adapters of a base on every task. As `flows.score.score.score`."""
    from flows.home.parts import open_embeddings, open_outputs, tasks_on
    from flows.score import score as scoring
    from flows.score.cards import Cards
    from flows.score.formats import Formats
    from warehouse.records.verdicts import admitted_of_pool

    return scoring.score(
        base,
        tasks_on(home, base.id, base.sha),
        admitted_of_pool(ledger_of(home), home.wanted, base),
        racetrack(home, base),
        ledger_of(home),
        open_outputs(home),
        Cards(ledger_of(home), hub_of(home), home.wanted, home.settings.readers),
        Formats(ledger_of(home), hub_of(home), home.wanted),
        open_embeddings(home),
        keep_unconfirmed=home.settings.unconfirmed == "publish",
        trained_in=None if home.settings.formats == "detected" else {},
    )


def racetrack(home: Home, base: Base) -> Racetrack:
    """The settings that decide how races on a base come out."""
    from flows.score.score import Racetrack

    settings = home.settings
    return Racetrack(conditions_on(home, base.id, base.sha), settings.chosen_strategy, settings.report)


def publish(home: Home, base: Base, scores: Scores, run: Run, force: str = "") -> Snapshot:
    """Freeze verdicts and scores as the current snapshot. As `flows.publish.publish.publish_catalog`."""
    from flows.home.parts import open_embeddings
    from flows.publish.publish import JudgedPool, PublishOptions, publish_catalog
    from flows.tasks.curate import whoami
    from warehouse.records.verdicts import PoolVerdicts

    settings = home.settings
    weights_of = partial(adapter_folder, home) if settings.with_weights else None
    return publish_catalog(
        base,
        scores,
        run,
        racetrack(home, base),
        JudgedPool(PoolVerdicts(ledger_of(home), home.wanted, base), settings.policy),
        ledger_of(home),
        open_embeddings(home),
        home.snapshots,
        PublishOptions(
            settings.gate, whoami(settings.author), settings.keep_snapshots, weights_of, partial(_belonging, home)
        ),
        force,
    )


def fit(home: Home, routers: Sequence[str] = (), base: str | None = None, again: bool = False) -> FitDone:
    """Train routers on the published catalog and publish it with their states. As `flows.fit.fit.fit_routers`.

    Args:
        routers: names; those of the setting `fit` where left out.
        base: whose catalog; the settings' own where left out.
        again: train even where a state is stored.
    """
    from functools import cache

    from catalog.errors import SettingError
    from flows.fit import fit as fitting
    from flows.home.parts import fit_parts, states_of
    from lorauter.routing.task_index import load_index
    from lorauter.train.fits import FITS

    settings, named = home.settings, tuple(dict.fromkeys(routers or home.settings.fit))
    if not named:
        raise SettingError("No router is named.", f"Name some, or set LORAUTER_FIT: {', '.join(FITS)}.")
    options = fitting.FitOptions(named, settings.fit_seconds, settings.fit_seed, again)
    snapshot, states = snapshot_of(home), states_of(home)
    index = load_index(snapshot, base or settings.base)
    parts = cache(lambda: fit_parts(home, snapshot, index.base))
    catalog, held = _catalog(home, snapshot, index), {path.stem for path in snapshot.trained}
    fitted = fitting.fit_routers(parts, catalog, states, home.root / "fitting", options, held)
    now = snapshot_of(home)  # training may take hours, and others publish meanwhile
    if now.id != snapshot.id:
        fitted = fitting.still_belong(fitted, _catalog(home, now, load_index(now, index.base)), states)
    published = fitting.publish_fitted(home.snapshots, now, index.base, fitted, states)
    return fitting.FitDone(published, tuple(fitting.told(fitted, states)))


def _catalog(home: Home, snapshot: Snapshot, index: TaskIndex) -> CatalogFacts:
    """What decides whether a state belongs to a catalog, with the training splits of the home's tasks."""
    from lorauter.train.fit import examples_hash
    from lorauter.train.found_states import catalog_of
    from warehouse.tasks.folder import stored_tasks

    tasks = [task for task in stored_tasks(home.task_folder) if task.name in index.tasks]
    return catalog_of(snapshot, index, examples_hash(tasks))


def _belonging(home: Home, draft: Snapshot) -> dict[str, Path]:
    """Files of the trained states that go with what is being published; see `flows.fit.fit.belonging`."""
    from catalog.errors import SnapshotError
    from flows.fit.fit import belonging
    from flows.home.parts import states_of
    from lorauter.routing.task_index import load_index

    try:
        before = snapshot_of(home) if (home.snapshots / "current").exists() else None
    except SnapshotError:  # told where it is published
        before = None
    if not home.settings.fit and not (before and before.trained):
        return {}
    files: dict[str, Path] = {}
    for base in draft.context["bases"]:
        catalog = _catalog(home, draft, load_index(draft, base))
        files |= belonging(catalog, states_of(home), home.settings.fit, home.settings.fit_seed, before)
    return files


def answer(
    home: Home, queries: Path, out: Path, options: AnswerOptions, snapshot: str | Path | None = None
) -> Answered:
    """Answer a file of queries by a snapshot, the current one by default. As `flows.answer.batch.answer_queries`."""
    from flows.answer.batch import answer_queries
    from flows.answer.policy import PolicyPart
    from flows.home.parts import open_outputs, policies_of
    from lorauter.routers import POLAR

    opened, policy = snapshot_of(home, snapshot), None
    published = published_base(home, opened)
    if POLAR in options.routers:
        state = policies_of(home).learned(published.index, ledger_of(home))
        policy = PolicyPart(state, open_outputs(home, state.resident).ensure)
        published = published_base(home, opened, state)
    conditions = conditions_on(home, published.index.base, published.index.base_sha)
    make, rows = open_outputs(home).ensure, home.settings.answer_rows
    return answer_queries(published, queries, out, options, make, conditions, rows, policy)


def feedback(home: Home, scores: Path, answers: Path) -> Told:
    """Store what people think of answers. As `flows.answer.feedback.store_feedback`."""
    from flows.answer.feedback import store_feedback

    return store_feedback(ledger_of(home), scores, answers)


def export(
    home: Home, queries: Path, out: Path, options: ExportOptions, snapshot: str | Path | None = None
) -> Exported:
    """Write a file of queries as requests to another engine. As `flows.answer.export.export_requests`."""
    from flows.answer.export import export_requests

    published = published_base(home, snapshot_of(home, snapshot))
    return export_requests(published, queries, out, options, home.settings.answer_rows)


def route(
    home: Home, texts: Iterable[str], options: RouteOptions, out: IO[str], snapshot: str | Path | None = None
) -> None:
    """Write the routes of texts by a snapshot. As `flows.answer.route_texts.tell_routes`."""
    from flows.answer.route_texts import tell_routes

    opened = snapshot_of(home, snapshot)
    explainer = explainer_of(home, opened, options.router) if options.explained else None
    tell_routes(published_base(home, opened), texts, options, out, home.settings.answer_rows, explainer)


def explainer_of(home: Home, snapshot: Snapshot, router: str) -> Explainer:
    """What explains the routes of a router of the settings; it asks the ledger which repos have gone."""
    from lorauter.routing.explain import Explainer
    from warehouse.records.repos import gone_repos

    settings = home.settings
    return Explainer(snapshot, settings.base, router, settings.routing, gone_repos(ledger_of(home)), settings.endpoint)


def evaluate(
    home: Home, options: EvaluateOptions, altered: Alter | None = None, snapshot: str | Path | None = None
) -> Evaluation:
    """Hold routers and compositions against held-back test items. As `flows.evaluate.evaluate.evaluate`.

    Args:
        altered: gives other parts to build routers from, for studies: with another encoder, say.
    """
    from flows.evaluate import evaluate as evaluation
    from flows.home.parts import open_outputs, router_parts, tasks_on

    opened = snapshot_of(home, snapshot)
    parts = router_parts(home, opened)
    parts = altered(parts) if altered else parts
    conditions = conditions_on(home, parts.index.base, parts.index.base_sha)
    tasks = tasks_on(home, parts.index.base, parts.index.base_sha)
    return evaluation.evaluate(options, opened, parts, tasks, open_outputs(home).ensure, conditions)


def write_page(home: Home, snapshot: Snapshot, out: Path) -> None:
    """Write the page of a snapshot, with the home's evaluations of it. As `flows.page.write.write_page`."""
    from flows.page import write

    write.write_page(snapshot, _page_sources(home), out)


def page_beside(home: Home, snapshot: Snapshot) -> Path | None:
    """Write the page of a refresh to `reports/<id>.html` of the home. As `flows.page.write.page_beside`."""
    from flows.page import write

    return write.page_beside(snapshot, _page_sources(home), home.root / "reports")


def _page_sources(home: Home) -> PageSources:
    from flows.page.write import PageSources

    return PageSources(ledger_of(home), home.root / "evaluations", home.settings.endpoint)


def published_base(home: Home, snapshot: Snapshot, policy: PolarState | None = None) -> PublishedBase:
    """The settings' base of a snapshot, with what routing to its adapters needs; the policy is as of `open_router`."""
    from flows.answer.published_base import PublishedBase
    from flows.home.parts import open_router
    from lorauter.routing.task_index import load_index

    index = load_index(snapshot, home.settings.base)
    return PublishedBase(
        snapshot=snapshot,
        index=index,
        routing=home.settings.routing,
        open_router=lambda name, gone: open_router(home, snapshot, name, gone, policy),
        fetch_adapter=partial(adapter_folder, home),
        fetch_base=lambda: model_folder(home, index.base, index.base_sha),
    )


def forecast(home: Home) -> list[Figure]:
    """What a refresh of the settings' base will take. As `flows.plan.forecast.forecast`; makes no request."""
    from flows.plan import forecast as plan
    from flows.plan.counts import counts_of

    settings = home.settings
    counts = counts_of(ledger_of(home), home.wanted, home.task_folder, home.root / "hub", settings.encoder)
    way = plan.Way(settings.page_size, bool(settings.hub_token), settings.strategy)
    return plan.forecast(counts, settings.plan, way)


def add_tasks(home: Home, source: Source, say: Say) -> list[Task]:
    """Store the tasks of a source. As `flows.tasks.add.add_tasks`; clusters are those of the settings' encoder."""
    from flows.tasks import add

    def encoder() -> Encoder:
        sha, _ = hub_of(home).repo_files(home.settings.encoder, home.settings.encoder_revision)
        return open_encoder(home, sha)

    return add.add_tasks(home.task_folder, source, say, lambda: hub_of(home), encoder)


def curate(
    home: Home, kind: str, adapter: str, task: str, reason: str, author: str | None = None, base: str = ""
) -> Act:
    """Record what a person decided. As `flows.tasks.curate.curate`; the author is the settings' where left out."""
    from catalog.curation import Act
    from flows.tasks import curate as curating

    author = author or curating.whoami(home.settings.author)
    act = Act(kind, adapter, task, base, author, reason.strip(), datetime.now(UTC))
    curating.curate(ledger_of(home), act, home.wanted.bases, home.task_folder)
    return act


def copies(home: Home, act: Act) -> list[str]:
    """Names under which the weights lie too that an act is about. As `flows.tasks.curate.copies`."""
    from flows.tasks import curate as curating

    return curating.copies(ledger_of(home), act)


def curation(home: Home, everything: bool = False) -> Iterator[Act]:
    """What people decided and holds for the settings' bases, oldest first; or everything they ever did."""
    from flows.tasks import curate as curating
    from warehouse.records.curation import acts

    return iter(acts(ledger_of(home))) if everything else curating.holding(ledger_of(home), home.wanted.bases)


def why(home: Home, repo: str) -> Iterator[str]:
    """Lines about every adapter of a repo. As `flows.tasks.why.tell`."""
    from flows.tasks.why import tell

    return tell(ledger_of(home), home.snapshots, repo)


def examine(home: Home) -> list[Check]:
    """What a run needs, looked at one by one. As `flows.home.doctor.examine`."""
    from flows.home import doctor

    opened = doctor.Opened(
        home.settings, lambda: storage_of(home), lambda: hub_of(home), home.snapshots, home.task_folder
    )
    return doctor.examine(opened)
