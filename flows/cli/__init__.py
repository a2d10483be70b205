"""The command line `lorauter`.

Knows: commands, flags, what they print. Does not know: any work. Only this room imports click.
"""
