-- Why the last ten of each task went no further: a reason for every pair would be most of the page.
SELECT base, task, adapter, why FROM scores WHERE why IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY base, task ORDER BY chosen DESC, rung DESC, mean DESC, adapter) <= 10
ORDER BY base, task, adapter
