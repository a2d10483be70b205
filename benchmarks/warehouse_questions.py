"""What people ask of a catalog: as our views, as SQL for any table store, and as pandas.

Knows: the questions, alike in all three. Does not know: where the rows are, how time is taken. SQLite has no median
and no list of names, so those columns are left out there and in pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

Frames = Mapping[str, pd.DataFrame]

VIEWS = {
    "catalog": "FROM catalog",
    "top_adapters": "FROM top_adapters WHERE task = ? LIMIT 20",
    "adapter_tasks": "FROM adapter_tasks WHERE adapter = ?",
    "adapter_lift": "FROM adapter_lift WHERE adapter = ?",
    "lift": "FROM lift",
    "coverage": "FROM coverage WHERE NOT good",
    "specialists": "FROM specialists LIMIT 20",
    "generalists": "FROM generalists LIMIT 20",
    "funnel": "FROM funnel",
    "rejections": "FROM rejections",
    "licences": "FROM licences",
    "freshness": "FROM freshness",
    "duplicates": "FROM duplicates LIMIT 20",
    "cost": "FROM cost",
    "rising": "FROM rising LIMIT 20",
    "views": "FROM views",
    "columns": "FROM columns WHERE \"table\" = 'scores'",
    "tasks": "FROM tasks WHERE task = ?",
    "inputs": "FROM inputs WHERE task = ?",
    "best": "FROM best WHERE task = ?",
    "scores": "SELECT adapter, mean, lift FROM scores WHERE task = ? ORDER BY mean DESC LIMIT 20",
    "rungs": "FROM rungs WHERE adapter = ?",
    "adapters": "FROM adapters WHERE adapter = ?",
    "changes": "FROM changes WHERE adapter = ?",
    "runs": "FROM runs",
    "sources": "FROM sources",
}
"""Every view of a snapshot, as it is asked; `?` is a task or an adapter, drawn anew each time."""

_CLEAR = "lift_n >= 8 AND lift > 2 * lift_standard_error"
_LOSES = "lift_n >= 8 AND lift < -2 * lift_standard_error"
_BY_ADAPTER = f"""
    SELECT adapter, count(*) AS tasks, sum({_CLEAR}) AS better, sum({_LOSES}) AS worse, max(lift) AS best_lift,
           avg(lift) AS mean_lift, min(lift) AS lowest_lift FROM scores WHERE adapter <> '' GROUP BY adapter"""
_TRIED = f"""
    SELECT task, count(*) AS tried, sum({_CLEAR}) AS better, sum({_LOSES}) AS worse
    FROM scores WHERE adapter <> '' GROUP BY task"""

SQLITE = {
    "top_adapters": """SELECT s.adapter, s.mean, s.lift, s.rung, s.chosen, a.licence, a.size, a.downloads
        FROM scores s LEFT JOIN adapters a ON a.adapter = s.adapter WHERE s.task = ? AND s.adapter <> ''
        ORDER BY s.chosen DESC, s.rung DESC, s.lift DESC, s.adapter LIMIT 20""",
    "adapter_tasks": "SELECT task, mean, n, lift, lift_standard_error, rung, chosen FROM scores WHERE adapter = ?",
    "lift": f"SELECT * FROM best LEFT JOIN ({_TRIED}) USING (task) ORDER BY lift DESC",
    "specialists": f"""SELECT adapter, best_lift, best_lift - (mean_lift * tasks - best_lift) / (tasks - 1) AS margin
        FROM ({_BY_ADAPTER}) WHERE better = 1 AND tasks >= 3 ORDER BY margin DESC LIMIT 20""",
    "generalists": f"""SELECT * FROM ({_BY_ADAPTER}) WHERE better >= 2 AND worse = 0
        ORDER BY better DESC, mean_lift DESC LIMIT 20""",
    "funnel": """SELECT count(*), sum(NOT admitted), sum(downloaded), sum(admitted),
        (SELECT count(DISTINCT adapter) FROM scores WHERE adapter <> '') FROM adapters""",
    "rejections": """SELECT reason, count(*) AS adapters, min(adapter) FROM adapters WHERE NOT admitted
        GROUP BY reason ORDER BY adapters DESC""",
    "licences": """SELECT a.licence, a.admitted, a.seen, b.tasks FROM
        (SELECT coalesce(licence, '(none)') AS licence, sum(admitted) AS admitted, count(*) AS seen
         FROM adapters GROUP BY 1) a
        LEFT JOIN (SELECT coalesce(licence, '(none)') AS licence, count(*) AS tasks
                   FROM best JOIN adapters USING (adapter) GROUP BY 1) b USING (licence) ORDER BY b.tasks DESC""",
    "freshness": """SELECT task, adapter, last_modified FROM best JOIN adapters USING (adapter)
        WHERE adapter <> '' ORDER BY last_modified""",
    "duplicates": """SELECT duplicate_of, count(*) AS copies, sum(size) FROM adapters
        WHERE duplicate_of IS NOT NULL GROUP BY 1 ORDER BY copies DESC LIMIT 20""",
    "rising": """SELECT task, adapter, change, lift - lift_before AS gained FROM changes
        WHERE adapter <> '' AND (change = 'rose' OR change = 'came' AND lift > 0) ORDER BY gained DESC LIMIT 20""",
}
"""Those that are work for another store; `?` as above."""

COLUMNS = {
    "scores": [
        "task",
        "adapter",
        "n",
        "mean",
        "standard_error",
        "lift",
        "lift_standard_error",
        "lift_n",
        "rung",
        "chosen",
    ],
    "adapters": [
        "adapter",
        "admitted",
        "downloaded",
        "reason",
        "licence",
        "size",
        "duplicate_of",
        "downloads",
        "last_modified",
    ],
    "best": ["task", "adapter", "score", "base_score", "lift", "lift_standard_error", "lift_over_majority", "n"],
    "changes": ["task", "adapter", "change", "lift_before", "lift", "chosen_before", "chosen"],
}
"""What those questions read."""

INDEXES = [
    "CREATE INDEX scores_task ON scores (task)",
    "CREATE INDEX scores_adapter ON scores (adapter)",
    "CREATE UNIQUE INDEX adapters_adapter ON adapters (adapter)",
    "CREATE INDEX adapters_reason ON adapters (reason)",
    "CREATE INDEX adapters_licence ON adapters (licence)",
    "CREATE INDEX adapters_duplicate_of ON adapters (duplicate_of)",
    "CREATE UNIQUE INDEX best_task ON best (task)",
    "CREATE INDEX changes_adapter ON changes (adapter)",
]
"""The usual ones: what is asked for by value."""


def _top(frames: Frames, task: str) -> pd.DataFrame:
    scores = frames["scores"]
    of_task = scores[(scores["task"] == task) & (scores["adapter"] != "")]
    order = ["chosen", "rung", "lift", "adapter"]
    best = of_task.sort_values(order, ascending=[False, False, False, True]).head(20)
    return best.merge(frames["adapters"][["adapter", "licence", "size", "downloads"]], on="adapter", how="left")


def _flagged(frames: Frames) -> pd.DataFrame:
    scores = frames["scores"][frames["scores"]["adapter"] != ""]
    enough, bound = scores["lift_n"] >= 8, 2 * scores["lift_standard_error"]
    return scores.assign(better=enough & (scores["lift"] > bound), worse=enough & (scores["lift"] < -bound))


def _by_adapter(frames: Frames) -> pd.DataFrame:
    groups = _flagged(frames).groupby("adapter", observed=True, sort=False)
    return groups.agg(
        tasks=("task", "size"),
        better=("better", "sum"),
        worse=("worse", "sum"),
        best_lift=("lift", "max"),
        mean_lift=("lift", "mean"),
        lowest_lift=("lift", "min"),
    )


def _lift(frames: Frames, _: str) -> pd.DataFrame:
    groups = _flagged(frames).groupby("task", observed=True)
    tried = groups.agg(tried=("adapter", "size"), better=("better", "sum"), worse=("worse", "sum"))
    return frames["best"].merge(tried, on="task", how="left").sort_values("lift", ascending=False)


def _specialists(frames: Frames, _: str) -> pd.DataFrame:
    found = _by_adapter(frames).query("better == 1 and tasks >= 3")
    other = (found["mean_lift"] * found["tasks"] - found["best_lift"]) / (found["tasks"] - 1)
    return found.assign(margin=found["best_lift"] - other).nlargest(20, "margin")


def _generalists(frames: Frames, _: str) -> pd.DataFrame:
    found = _by_adapter(frames).query("better >= 2 and worse == 0")
    return found.sort_values(["better", "mean_lift"], ascending=False).head(20)


def _funnel(frames: Frames, _: str) -> tuple[int, ...]:
    seen, scores = frames["adapters"], frames["scores"]
    scored = scores.loc[scores["adapter"] != "", "adapter"].nunique()
    return len(seen), int((~seen["admitted"]).sum()), int(seen["downloaded"].sum()), int(seen["admitted"].sum()), scored


def _rejections(frames: Frames, _: str) -> pd.DataFrame:
    rejected = frames["adapters"][~frames["adapters"]["admitted"]]
    found = rejected.groupby("reason", observed=True).agg(adapters=("adapter", "size"), example=("adapter", "min"))
    return found.sort_values("adapters", ascending=False)


def _licences(frames: Frames, _: str) -> pd.DataFrame:
    known = frames["adapters"].assign(licence=frames["adapters"]["licence"].fillna("(none)"))
    counts = known.groupby("licence").agg(admitted=("admitted", "sum"), seen=("adapter", "size"))
    used = frames["best"].merge(known[["adapter", "licence"]], on="adapter").groupby("licence").size().rename("tasks")
    return counts.join(used).sort_values("tasks", ascending=False)


def _freshness(frames: Frames, _: str) -> pd.DataFrame:
    chosen = frames["best"][frames["best"]["adapter"] != ""]
    modified = frames["adapters"][["adapter", "last_modified"]]
    return chosen.merge(modified, on="adapter")[["task", "adapter", "last_modified"]].sort_values("last_modified")


def _duplicates(frames: Frames, _: str) -> pd.DataFrame:
    groups = frames["adapters"].groupby("duplicate_of")
    return groups.agg(copies=("adapter", "size"), bytes=("size", "sum")).nlargest(20, "copies")


def _rising(frames: Frames, _: str) -> pd.DataFrame:
    found = frames["changes"]
    rose = (found["change"] == "rose") | ((found["change"] == "came") & (found["lift"] > 0))
    kept = found[(found["adapter"] != "") & rose]
    return kept.assign(gained=kept["lift"] - kept["lift_before"]).nlargest(20, "gained")


def _tasks_of(frames: Frames, adapter: str) -> pd.DataFrame:
    return frames["scores"][frames["scores"]["adapter"] == adapter]


PANDAS: dict[str, Callable[[Frames, str], Any]] = {
    "top_adapters": _top,
    "adapter_tasks": _tasks_of,
    "lift": _lift,
    "specialists": _specialists,
    "generalists": _generalists,
    "funnel": _funnel,
    "rejections": _rejections,
    "licences": _licences,
    "freshness": _freshness,
    "duplicates": _duplicates,
    "rising": _rising,
}
"""The same over data frames of `COLUMNS`, in memory; the text is the task or adapter that is asked for."""
