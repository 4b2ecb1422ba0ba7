"""The command `morphax`: demo, learn, apply, evaluate, explain, export and info.

`main` reads the arguments and turns errors into one line; the other modules hold a function for
each command, over public functions of `data`, `recipes` and `export`. A function takes the parsed
arguments and returns the exit code.
"""
