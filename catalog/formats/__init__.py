"""Prompt formats: how an input becomes a prompt, and which format an adapter was trained for."""
