"""The plan: what a refresh will take, told before anything starts.

Knows: counts and assumptions. Does not know: stages. Makes no request.
"""
