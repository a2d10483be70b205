-- Named views over a snapshot. Run in the snapshot's folder: duckdb -init views.sql
CREATE OR REPLACE VIEW tasks AS SELECT * FROM read_parquet('tasks.parquet');
CREATE OR REPLACE VIEW best AS SELECT * FROM read_parquet('best.parquet');
-- Every adapter tried on a task, with what it reached before it was dropped.
CREATE OR REPLACE VIEW scores AS SELECT * FROM read_parquet('scores.parquet');
-- How it came to that, rung by rung.
CREATE OR REPLACE VIEW rungs AS SELECT * FROM read_parquet('rungs.parquet');
CREATE OR REPLACE VIEW adapters AS SELECT * FROM read_parquet('adapters.parquet');

-- The catalog as people ask for it: the published adapter of each task, best lift first.
CREATE OR REPLACE VIEW catalog AS
SELECT task, CASE adapter WHEN '' THEN '(base)' ELSE adapter END AS adapter,
       score, standard_error, n, base_score, lift, lift_standard_error, lift_over_majority, lift_over_shuffled
FROM best ORDER BY lift DESC, task;

-- From seen to admitted: how many adapters fell to which rule.
CREATE OR REPLACE VIEW rejections AS
SELECT reason, count(*) AS adapters, min(adapter) AS example
FROM adapters WHERE NOT admitted GROUP BY reason ORDER BY adapters DESC, reason;

CREATE OR REPLACE VIEW funnel AS
SELECT count(*) AS seen, count(*) FILTER (NOT admitted) AS rejected, count(*) FILTER (downloaded) AS downloaded,
       count(*) FILTER (admitted) AS admitted,
       (SELECT count(DISTINCT adapter) FROM scores WHERE adapter <> '') AS scored
FROM adapters;

