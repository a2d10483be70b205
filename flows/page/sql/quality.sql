-- After each rung: evaluations so far, and the mean over tasks of what was then the leader's lift, in thousandths.
WITH steps AS (
    SELECT base, task, rung, adapter, mean, kept,
           n - coalesce(lag(n) OVER (PARTITION BY base, task, adapter ORDER BY rung), 0) AS new
    FROM rungs
), reached AS (
    SELECT g.base, g.rung, s.task, s.adapter, sum(s.new) AS evaluations,
           arg_max(s.mean, s.rung) AS mean, arg_max(s.kept, s.rung) AS kept
    FROM (SELECT DISTINCT base, rung FROM rungs) g JOIN steps s ON s.base = g.base AND s.rung <= g.rung
    GROUP BY ALL
), leaders AS (
    SELECT base, rung, task, sum(evaluations) AS evaluations,
           arg_max(adapter, (kept, mean, adapter)) AS adapter
    FROM reached GROUP BY ALL
)
SELECT l.base, l.rung, sum(l.evaluations)::BIGINT AS evaluations,
       TRY_CAST(round(1000 * avg(coalesce(s.lift, 0))) AS INTEGER) AS lift
FROM leaders l LEFT JOIN scores s USING (base, task, adapter)
GROUP BY ALL ORDER BY l.base, l.rung
