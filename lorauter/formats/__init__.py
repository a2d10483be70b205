"""Chat templates of bases and repos, rendered once in a process of their own and kept as plain prompt formats."""
