"""Queries and answers as files: read as a stream, written part by part.

Knows: rows and files. Does not know: routes, engines.
"""
