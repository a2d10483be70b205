-- Why adapters were rejected, by the first rule that failed.
SELECT base, coalesce(reason, 'unknown') AS reason, count(*) AS adapters, min(adapter) AS example
FROM adapters WHERE NOT admitted GROUP BY ALL ORDER BY base, adapters DESC, reason
