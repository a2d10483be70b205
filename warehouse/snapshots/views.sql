-- Which tasks are there, under what prompt and metric?
CREATE OR REPLACE VIEW tasks AS SELECT * FROM read_parquet('tasks.parquet');

-- Which validation inputs has a task? Routers are fitted on them.
CREATE OR REPLACE VIEW inputs AS SELECT * FROM read_parquet('inputs.parquet');

-- Which adapter is published for each task, and what does it score on examples that did not choose it?
CREATE OR REPLACE VIEW best AS SELECT * FROM read_parquet('best.parquet');

-- What did every adapter that was tried on a task reach before it was dropped?
CREATE OR REPLACE VIEW scores AS SELECT * FROM read_parquet('scores.parquet');

-- How did it come to that, rung by rung?
CREATE OR REPLACE VIEW rungs AS SELECT * FROM read_parquet('rungs.parquet');

-- What is known of every adapter that was seen, admitted or rejected?
CREATE OR REPLACE VIEW adapters AS SELECT * FROM read_parquet('adapters.parquet');

-- What speaks for which prompt format that an admitted adapter was trained in?
CREATE OR REPLACE VIEW formats AS SELECT * FROM read_parquet('formats.parquet');

-- What is the text of each prompt format that something was scored in?
CREATE OR REPLACE VIEW templates AS SELECT * FROM read_parquet('templates.parquet');

-- What did people decide over what scores say: pins, bans and notes, with author, reason and time?
CREATE OR REPLACE VIEW curation AS SELECT * FROM read_parquet('curation.parquet');

-- What differs from the snapshot that was current before?
CREATE OR REPLACE VIEW changes AS SELECT * FROM read_parquet('changes.parquet');

-- Which runs led here?
CREATE OR REPLACE VIEW runs AS SELECT * FROM read_parquet('runs.parquet');

-- Which fragments of the ledger was this made from?
CREATE OR REPLACE VIEW sources AS SELECT * FROM read_parquet('sources.parquet');

-- What is the published adapter of each task, best lift first?
--   adapter: its key, (base) where no adapter improves on the base
--   score: mean metric on the n examples that did not choose it
--   base_score: the base's mean on the same
--   lift: score - base_score
--   confirmed: whether it gains on them, null for the base
--   empty: of its n answers those that say nothing
--   cut: of its n answers those that their bound ended
--   base_empty: of the base's n answers those that say nothing
--   format: prompt format that it was asked in; null: the task's own template
--   base_format: prompt format that the base scored in, its best; null: the task's own template
--   licence: as its card says
-- kept
CREATE OR REPLACE VIEW catalog AS
SELECT task, CASE adapter WHEN '' THEN '(base)' ELSE adapter END AS adapter,
       score, standard_error, n, base_score, lift, lift_standard_error, lift_over_majority, lift_over_shuffled,
       confirmed, empty, cut, base_empty, format, base_format, base, licence
FROM best LEFT JOIN adapters USING (base, base_sha, adapter) ORDER BY lift DESC, task, base;

-- Which adapters do best on a task? The 100 best of each: the published one first, then who came furthest in the race.
--   place: 1 is the best
--   mean: of the metric, on the n selection examples that it met
--   lift: mean difference to the base on them
--   clear: whether the lift is above two standard errors, on eight examples or more
--   chosen: whether it is the published one
--   empty: of its n answers those that say nothing
--   cut: of its n answers those that their bound ended
--   format: prompt format that it was asked in; null: the task's own template
--   downloads: of its repo
-- kept
CREATE OR REPLACE VIEW top_adapters AS
WITH placed AS (
    SELECT base, base_sha, task, adapter, mean, n, lift, lift_standard_error, lift_n, rung, chosen, empty, cut, format,
           row_number() OVER (PARTITION BY base, base_sha, task
                              ORDER BY chosen DESC, rung DESC, lift DESC, adapter) AS place
    FROM scores WHERE adapter <> '' QUALIFY place <= 100
)
SELECT base, task, place, adapter, mean, n, lift, lift_standard_error,
       lift_n >= 8 AND lift > 2 * lift_standard_error AS clear, rung, chosen, empty, cut, format, licence, size, downloads
FROM placed LEFT JOIN adapters USING (base, base_sha, adapter)
ORDER BY base, task, place;

-- On which tasks was an adapter tried, and how far did it come? Ask with WHERE adapter = '…' or LIKE 'org/name@%'.
--   mean: of the metric, on the n selection examples that it met
--   lift: mean difference to the base on them
--   clear: whether the lift is above two standard errors, on eight examples or more
--   rung: the last one that it met examples in
--   empty: of its n answers those that say nothing
--   cut: of its n answers those that their bound ended
--   format: prompt format that it was asked in; null: the task's own template
CREATE OR REPLACE VIEW adapter_tasks AS
SELECT base, adapter, task, mean, n, lift, lift_standard_error,
       lift_n >= 8 AND lift > 2 * lift_standard_error AS clear, rung, chosen, empty, cut, format, why
FROM scores WHERE adapter <> '';

-- How much does each task gain over the base: by its published adapter, and by all that were tried?
--   score: of the published adapter, on examples that did not choose it
--   base_score: of the base, on the same
--   lift: score - base_score
--   low: lower end of the lift's 95% interval
--   high: upper end
--   tried: adapters that met examples of the task
--   better: of them those that clearly gain: above two standard errors, on eight examples or more
--   worse: those that clearly lose
--   median_lift: of all that were tried
--   empty: of the published one's n answers those that say nothing
--   cut: of the published one's n answers those that their bound ended
--   base_empty: of the base's n answers those that say nothing
--   base_cut: of the base's n answers those that their bound ended
--   format: prompt format that the published one was asked in; null: the task's own template
--   base_format: prompt format that the base scored in, its best; null: the task's own template
-- kept
CREATE OR REPLACE VIEW lift AS
WITH tried AS (
    SELECT base, base_sha, task, count(*) AS tried,
           count(*) FILTER (lift_n >= 8 AND lift > 2 * lift_standard_error) AS better,
           count(*) FILTER (lift_n >= 8 AND lift < -2 * lift_standard_error) AS worse,
           median(lift) AS median_lift
    FROM scores WHERE adapter <> '' GROUP BY ALL
)
SELECT base, task, adapter, score, base_score, lift, lift - 1.96 * lift_standard_error AS low,
       lift + 1.96 * lift_standard_error AS high, n, lift_over_majority, coalesce(tried, 0) AS tried,
       coalesce(better, 0) AS better, coalesce(worse, 0) AS worse, median_lift, empty, cut, base_empty, base_cut,
       format, base_format
FROM best LEFT JOIN tried USING (base, base_sha, task)
ORDER BY lift DESC, base, task;

-- Which tasks have no good adapter? Ask with WHERE NOT good.
--   good: whether the published adapter clearly gains over a base that answers, and gains over the majority answer
--   status: untried, base (no adapter improves on it), mute base (it says nothing on most examples), at a loss, unclear (0 within the interval), below majority, or good
--   low: lower end of the lift's 95% interval
--   tried: adapters that met examples of the task
--   better: of them those that clearly gain
-- kept
CREATE OR REPLACE VIEW coverage AS
SELECT base, task, status = 'good' AS good, status, adapter, lift, low, tried, better
FROM (
    SELECT base, task, adapter, lift, low, coalesce(tried, 0) AS tried, coalesce(better, 0) AS better,
           CASE WHEN coalesce(tried, 0) = 0 THEN 'untried'
                WHEN coalesce(adapter, '') = '' THEN 'base'
                WHEN coalesce(2 * base_empty > n, false) THEN 'mute base'
                WHEN lift < 0 THEN 'at a loss'
                WHEN low IS NULL OR low <= 0 THEN 'unclear'
                WHEN NOT coalesce(lift_over_majority > 0, false) THEN 'below majority'
                ELSE 'good' END AS status
    FROM (SELECT base, task FROM tasks) LEFT JOIN lift USING (base, task)
)
ORDER BY good, lift, base, task;

-- How does an adapter do over all the tasks that it met? Clear is above two standard errors, on eight examples or more.
--   tasks: that it met examples of
--   better: of them those on which it clearly gains over the base
--   worse: those on which it clearly loses
--   chosen: those that it is published for
--   best_task: where its lift is largest
--   best_lift: its lift there
--   mean_lift: over its tasks, each counting alike
--   lowest_lift: where it does worst
-- kept
CREATE OR REPLACE VIEW adapter_lift AS
SELECT base, adapter, count(*) AS tasks,
       count(*) FILTER (lift_n >= 8 AND lift > 2 * lift_standard_error) AS better,
       count(*) FILTER (lift_n >= 8 AND lift < -2 * lift_standard_error) AS worse,
       count(*) FILTER (chosen) AS chosen, arg_max(task, lift) AS best_task, max(lift) AS best_lift,
       avg(lift) AS mean_lift, min(lift) AS lowest_lift
FROM scores WHERE adapter <> '' GROUP BY base, base_sha, adapter
ORDER BY base, adapter;

-- Which adapters are good at one thing? Those that clearly gain on one task and on no other of at least three.
--   task: the one
--   lift: on it
--   other_lift: mean over its other tasks
--   margin: lift - other_lift, the largest first
--   tasks: that it met examples of
--   chosen: tasks that it is published for
-- kept
CREATE OR REPLACE VIEW specialists AS
SELECT base, adapter, best_task AS task, best_lift AS lift,
       (mean_lift * tasks - best_lift) / (tasks - 1) AS other_lift, best_lift - other_lift AS margin, tasks, chosen
FROM adapter_lift WHERE better = 1 AND tasks >= 3
ORDER BY margin DESC, base, adapter;

-- Which adapters are good at many things? Those that clearly gain on two tasks or more and clearly lose on none.
--   tasks: that it met examples of
--   better: of them those on which it clearly gains, most first
--   share: better / tasks
--   mean_lift: over its tasks, each counting alike
--   lowest_lift: where it does worst
--   chosen: tasks that it is published for
-- kept
CREATE OR REPLACE VIEW generalists AS
SELECT base, adapter, tasks, better, better / tasks AS share, mean_lift, lowest_lift, chosen
FROM adapter_lift WHERE better >= 2 AND worse = 0
ORDER BY better DESC, mean_lift DESC, base, adapter;

-- From seen to admitted: how many adapters came how far?
--   seen: by the crawl
--   rejected: by a rule
--   downloaded: as far as the checks of their weights
--   scored: met at least one example
-- kept
CREATE OR REPLACE VIEW funnel AS
SELECT count(*) AS seen, count(*) FILTER (NOT admitted) AS rejected, count(*) FILTER (downloaded) AS downloaded,
       count(*) FILTER (admitted) AS admitted,
       (SELECT count(DISTINCT adapter) FROM scores WHERE adapter <> '') AS scored
FROM adapters;

-- How many adapters fell to which rule?
--   reason: the first failing rule
--   adapters: that fell to it
--   example: one of them
--   share: of all that were rejected
-- kept
CREATE OR REPLACE VIEW rejections AS
SELECT reason, count(*) AS adapters, min(adapter) AS example, count(*) / sum(count(*)) OVER () AS share
FROM adapters WHERE NOT admitted GROUP BY reason ORDER BY adapters DESC, reason;

-- Under which licences are the chosen, and all that are admitted?
--   licence: as the card says, (none) where it says nothing
--   tasks: with a published adapter under it, most first
--   chosen: adapters that are published, each once
--   admitted: adapters that passed every rule
--   seen: all
-- kept
CREATE OR REPLACE VIEW licences AS
WITH known AS (SELECT base, base_sha, adapter, coalesce(licence, '(none)') AS licence, admitted FROM adapters),
counts AS (SELECT base, base_sha, licence, count(*) FILTER (admitted) AS admitted, count(*) AS seen FROM known GROUP BY ALL),
used AS (
    SELECT base, base_sha, licence, count(*) AS tasks, count(DISTINCT adapter) AS chosen
    FROM best JOIN known USING (base, base_sha, adapter) GROUP BY ALL
)
SELECT base, licence, coalesce(tasks, 0) AS tasks, coalesce(chosen, 0) AS chosen, counts.admitted, seen
FROM counts LEFT JOIN used USING (base, base_sha, licence)
ORDER BY tasks DESC, admitted DESC, base, licence;

-- Which prompt format was each admitted adapter trained for, and how is that known? The surest evidence first.
--   place: 1 is the surest; null where nothing is said, or was read
--   format: its name; own: `template` is it; base_chat: the base's chat template; repo_chat: its own, which could not be used
--   source: what says so
--   confidence: share of such evidence that is to be expected right
--   sure: whether that is 0.5 or more; below, the task's own template stays
--   reason: what was seen
--   template: of a format of its own, with {input}
--   stops: texts that end an answer under it
-- kept
CREATE OR REPLACE VIEW adapter_formats AS
SELECT base, adapter, place, format, source, confidence, coalesce(confidence >= 0.5, false) AS sure, reason,
       template, stops
FROM (SELECT base, base_sha, adapter FROM adapters WHERE admitted) LEFT JOIN formats USING (base, base_sha, adapter)
ORDER BY base, adapter, place;

-- Which adapters are asked in another prompt format than the tasks' own, what speaks for it, and what is it worth?
--   format: that it was scored in, the best of those that were tried
--   source: what says that it was trained in it; null where no evidence that is published does
--   confidence: share of such evidence that is to be expected right
--   reason: what was seen
--   tasks: that it met examples of in this format
--   better: of them those on which it clearly gains over the base, asked in its best format
--   worse: those on which it clearly loses
--   chosen: those that it is published for, most first
--   best_task: where its lift is largest
--   best_lift: its lift there
--   mean_lift: over its tasks, each counting alike
--   template: text of the format, with {input}
--   stops: texts that end an answer in it
-- kept
CREATE OR REPLACE VIEW scored_formats AS
WITH scored AS (
    SELECT base, base_sha, adapter, format, count(*) AS tasks,
           count(*) FILTER (lift_n >= 8 AND lift > 2 * lift_standard_error) AS better,
           count(*) FILTER (lift_n >= 8 AND lift < -2 * lift_standard_error) AS worse,
           count(*) FILTER (chosen) AS chosen, arg_max(task, lift) AS best_task, max(lift) AS best_lift,
           avg(lift) AS mean_lift
    FROM scores WHERE adapter <> '' AND format IS NOT NULL GROUP BY base, base_sha, adapter, format
),
named AS (  -- a format outside of the known ones is called by a hash too: its evidence is found by its text
    SELECT *, CASE WHEN starts_with(format, 'own ') THEN template
                   WHEN starts_with(format, 'chat template of ') THEN 'base_chat' ELSE format END AS evidence
    FROM scored LEFT JOIN templates USING (base, base_sha, format)
),
told AS (
    SELECT base, base_sha, adapter, CASE format WHEN 'own' THEN template ELSE format END AS evidence,
           arg_min(source, place) AS source, arg_min(confidence, place) AS confidence, arg_min(reason, place) AS reason
    FROM formats GROUP BY ALL
)
SELECT base, adapter, format, source, confidence, reason, tasks, better, worse, chosen, best_task, best_lift,
       mean_lift, template, stops
FROM named LEFT JOIN told USING (base, base_sha, adapter, evidence)
ORDER BY chosen DESC, mean_lift DESC, base, adapter, format;

-- How fresh are the published adapters? The oldest first.
--   last_modified: when its repo last changed on the hub, UTC; null where that was not kept
--   days: since then
CREATE OR REPLACE VIEW freshness AS
SELECT base, task, adapter, try_cast(last_modified AS TIMESTAMP) AS last_modified,
       date_diff('day', try_cast(last_modified AS TIMESTAMP)::DATE, current_date) AS days, downloads
FROM (FROM best WHERE adapter <> '') LEFT JOIN adapters USING (base, base_sha, adapter)
ORDER BY last_modified NULLS FIRST, base, task;

-- Which adapters are the same weights under several names? They are stored and scored once.
--   original: the adapter that stands for all
--   copies: how many others there are, most first
--   bytes: that storing them too would take
--   adapters: keys of the copies, at most 100
-- kept
CREATE OR REPLACE VIEW duplicates AS
SELECT base, duplicate_of AS original, count(*) AS copies, sum(size)::BIGINT AS bytes,
       min(adapter, 100) AS adapters
FROM adapters WHERE duplicate_of IS NOT NULL GROUP BY ALL ORDER BY copies DESC, base, original;

-- What did each refresh cost? The last first.
--   seconds: s, from start to publish
--   file_requests: requests for files
--   bytes: B of listings, configs, headers and cards; weights are not counted
--   spent: evaluations that the strategy asked for
--   new: of them those that had to be made
--   exhaustive: evaluations of every adapter on every example
--   share: spent / exhaustive
-- kept
CREATE OR REPLACE VIEW cost AS
SELECT base, command, started, seconds, listed, file_requests, bytes, spent, "new", exhaustive,
       spent / nullif(exhaustive, 0) AS share
FROM runs ORDER BY started DESC, base;

-- Which adapters rose, or came with a gain, since the snapshot before? Those that took a task first.
--   change: rose or came
--   gained: lift - lift_before; null for one that came
--   took: whether it is now the task's published one, and was not
--   since: id of the snapshot before
-- kept
CREATE OR REPLACE VIEW rising AS
SELECT base, task, adapter, change, lift_before, lift, lift - lift_before AS gained, mean_before, mean,
       coalesce(chosen, false) AND NOT coalesce(chosen_before, false) AS took, since
FROM changes WHERE adapter <> '' AND (change = 'rose' OR change = 'came' AND lift > 0)
ORDER BY took DESC, gained DESC NULLS LAST, lift DESC, base, task, adapter;

-- Which views are there, and what does each answer?
--   name: of the view
--   question: that it answers
CREATE OR REPLACE VIEW views AS
SELECT view_name AS name, comment AS question FROM duckdb_views() WHERE NOT internal AND NOT temporary ORDER BY name;

-- What do the columns of tables and views mean? Ask with WHERE "table" = '…'.
--   table: or view
--   type: as DuckDB names it
--   about: its meaning; null where the name says it
CREATE OR REPLACE VIEW columns AS
SELECT table_name AS "table", column_name AS "column", data_type AS type,
       coalesce(comment, CASE column_name WHEN 'base' THEN 'base model id' WHEN 'task' THEN 'its name'
                         WHEN 'adapter' THEN 'its key, repo[:path]@sha, "" is the base alone' END) AS about
FROM duckdb_columns() WHERE NOT internal AND database_name <> 'temp' ORDER BY table_name, column_index;
