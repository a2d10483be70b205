-- Adapters, with what decided their verdict.
SELECT base, adapter, admitted, downloaded, reason, findings, licence, size, sha256, duplicate_of, base_named,
       base_source, peft_type, task_type, peft_version, rank, modules, matched, dtypes, dora, rslora, downloads,
       rules_version
FROM adapters ORDER BY base, adapter
