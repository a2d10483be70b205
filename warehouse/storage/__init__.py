"""Storage: files that are whole or absent, on this machine or shared by many.

Knows: bytes, rows of files, URLs. Does not know: what a file means.
"""
