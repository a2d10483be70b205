"""Programs that measure. Each prints a table, can write JSON, and compares with what people use now, in one run."""

import flows  # noqa: F401  (how threads wait, before torch is imported)
