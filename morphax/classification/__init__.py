"""Image classifiers that are binary to the end: clauses (hit-or-misses) whose bits vote for classes.

`model` is the classifier as a model, `clauses` holds its neurons while they are trained, `train` learns it.
"""
