"""Programs that measure. Each prints a table, can write JSON, and compares with what people use now, in one run."""
