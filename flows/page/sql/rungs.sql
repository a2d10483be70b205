-- The bracket: how many met each rung of a task, and how many went on.
SELECT base, task, rung, count(*) AS adapters, count(*) FILTER (kept) AS kept, max(n) AS n
FROM rungs GROUP BY ALL ORDER BY base, task, rung
