-- Tasks with their published adapter; scores in thousandths.
SELECT t.base, t.task, t.metric, t.description, t.declared, t.n_validation, t.majority, t.embedding,
       b.adapter, b.n, c.status, b.empty, b.cut, b.base_empty, b.base_cut, b.format, b.base_format,
       TRY_CAST(round(1000 * b.score) AS INTEGER) AS score,
       TRY_CAST(round(1000 * b.standard_error) AS INTEGER) AS error,
       TRY_CAST(round(1000 * b.base_score) AS INTEGER) AS base_score,
       TRY_CAST(round(1000 * b.lift) AS INTEGER) AS lift,
       TRY_CAST(round(1000 * b.lift_standard_error) AS INTEGER) AS lift_error,
       TRY_CAST(round(1000 * b.lift_over_majority) AS INTEGER) AS over_majority,
       TRY_CAST(round(1000 * b.lift_over_shuffled) AS INTEGER) AS over_shuffled
FROM tasks t LEFT JOIN best b USING (base, base_sha, task) LEFT JOIN coverage c USING (base, task) ORDER BY base, task
