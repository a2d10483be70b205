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
    from flows.score.score import Scores
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
    """Score the admitted adapters of a base on every task; shards run where the settings say."""
    from flows.outputs.runner import shard_runner
    from flows.score import score as scoring

    return scoring.score(home, base, shard_runner(home))


def publish(home: Home, base: Base, scores: Scores, run: Run, force: str = "") -> Snapshot:
    """Freeze verdicts and scores as the current snapshot. As `flows.publish.publish.publish_catalog`."""
    from flows.publish.publish import publish_catalog

    return publish_catalog(home, base, scores, run, force)


def evaluate(home: Home, options: EvaluateOptions, altered: Alter | None = None) -> Evaluation:
    """Hold routers and compositions against held-back test items. As `flows.evaluate.evaluate.evaluate`."""
    from flows.evaluate import evaluate as evaluation
    from flows.outputs.runner import shard_runner

    return evaluation.evaluate(home, options, shard_runner(home), altered)
