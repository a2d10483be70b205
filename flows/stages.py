"""The stages on a home: where settings become the parts that each stage takes.

Knows: which part of the settings a stage needs, and how it is opened (flows/home/parts). Does not know: what a stage
does. Commands, flows, the demo and whoever scripts a home call these; a stage itself knows no home.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalog.bases.base import Base
    from flows.crawl.listings import Crawled
    from flows.evaluate.evaluate import Alter, EvaluateOptions, Evaluation
    from flows.home.home import Home
    from flows.publish.run_record import Run
    from flows.score.score import Racetrack, Scores
    from flows.validate.verdicts import Judged
    from warehouse.snapshots.snapshot import Snapshot


def crawl(home: Home, full: bool = False, with_bases: bool = True) -> Crawled:
    """Bring the listings of what the settings want up to date. As `flows.crawl.listings.crawl`."""
    from flows.crawl import listings

    return listings.crawl(home, full, with_bases)


def validate(home: Home, download: bool = True) -> Judged:
    """Bring every adapter of the pool to a verdict. As `flows.validate.verdicts.validate`."""
    from flows.validate import verdicts

    return verdicts.validate(home, download)


def read_base(home: Home, id_: str | None = None) -> Base:
    """A base of the settings, their own by default. As `flows.validate.bases.read_base`."""
    from flows.validate import bases

    return bases.read_base(home, id_)


def score(home: Home, base: Base) -> Scores:
    """Score the admitted adapters of a base on every task. As `flows.score.score.score`."""
    from flows.home.parts import open_embeddings, open_outputs
    from flows.score import score as scoring
    from flows.score.cards import Cards
    from flows.validate.verdicts import verdicts

    index, keys = verdicts(home, base, ["admitted", "downloaded"])
    columns = {key[2]: index.columns[key] for key in keys}
    return scoring.score(
        base,
        home.tasks(),
        {key: downloaded for key, (admitted, downloaded) in columns.items() if admitted},
        racetrack(home, base),
        home.ledger,
        open_outputs(home),
        Cards(home.ledger, home.hub, home.wanted, home.settings.readers),
        open_embeddings(home),
    )


def racetrack(home: Home, base: Base) -> Racetrack:
    """The settings that decide how races on a base come out."""
    from flows.score.score import Racetrack

    settings = home.settings
    return Racetrack(home.conditions(base.id, base.sha), settings.chosen_strategy, settings.report)


def publish(home: Home, base: Base, scores: Scores, run: Run, force: str = "") -> Snapshot:
    """Freeze verdicts and scores as the current snapshot. As `flows.publish.publish.publish_catalog`."""
    from flows.home.parts import open_embeddings
    from flows.publish.publish import JudgedPool, PublishOptions, publish_catalog
    from flows.tasks.curate import whoami
    from flows.validate.verdicts import verdicts

    settings = home.settings
    weights_of = home.fetch_adapter if settings.with_weights else None
    return publish_catalog(
        base,
        scores,
        run,
        racetrack(home, base),
        JudgedPool(*verdicts(home, base), settings.policy),
        home.ledger,
        open_embeddings(home),
        home.snapshots,
        PublishOptions(settings.gate, whoami(home), settings.keep_snapshots, weights_of),
        force,
    )


def evaluate(home: Home, options: EvaluateOptions, altered: Alter | None = None) -> Evaluation:
    """Hold routers and compositions against held-back test items. As `flows.evaluate.evaluate.evaluate`."""
    from flows.evaluate import evaluate as evaluation
    from flows.home.parts import open_outputs

    return evaluation.evaluate(home, options, open_outputs(home), altered)
