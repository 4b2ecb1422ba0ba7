"""Recipes for window operators: unions and votes of hit-or-misses, in one or more levels.

`unions` has `learn_window_union`, `votes` has `learn_window_votes`; both return the
`WindowOperator` of `operators`, and `networks` turns one into a certified network.
"""
