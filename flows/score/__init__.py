"""The stage `score`: which outputs evaluations need, and what they come to.

Knows: races' evaluations, cards, embeddings. Does not know: how outputs are made (flows/outputs).
"""
