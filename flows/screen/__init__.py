"""The screen: progress, tables and reports for people. Only this room imports rich.

Knows: terminals and pipes. Does not know: any work.
"""
