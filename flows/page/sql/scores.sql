-- Every adapter on every task it was tried on, in thousandths; "" is the base alone.
SELECT base, task, adapter, n, lift_n, rung, chosen, empty, cut, format,
       TRY_CAST(round(1000 * mean) AS INTEGER) AS mean,
       TRY_CAST(round(1000 * standard_error) AS INTEGER) AS error,
       TRY_CAST(round(1000 * lift) AS INTEGER) AS lift,
       TRY_CAST(round(1000 * lift_standard_error) AS INTEGER) AS lift_error
FROM scores ORDER BY base, task, adapter
