-- What the hub says of a repo, as last listed.
SELECT repo, arg_max(tags, "at") AS tags, arg_max(likes, "at") AS likes,
       arg_max(last_modified, "at") AS last_modified, arg_max(gone, "at") AS gone
FROM ledger_repos GROUP BY repo
