"""The demo: tasks of our own making, a base model from a package, and a small pool of trained adapters."""
