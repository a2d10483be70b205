-- Rung by rung, the means of the last six of each task, in thousandths.
SELECT base, task, rung, adapter, n,
       TRY_CAST(round(1000 * mean) AS INTEGER) AS mean,
       TRY_CAST(round(1000 * standard_error) AS INTEGER) AS error
FROM rungs r
SEMI JOIN (
    SELECT base, task, adapter FROM scores
    QUALIFY row_number() OVER (PARTITION BY base, task ORDER BY chosen DESC, rung DESC, mean DESC, adapter) <= 6
) last USING (base, task, adapter)
ORDER BY base, task, rung, adapter
