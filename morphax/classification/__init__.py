"""Classifiers that are binary to the end: clauses (hit-or-misses) whose bits vote for classes.

`model` is the classifier as a model, `clauses` holds its neurons while they are trained, `train`
learns it.
"""

from morphax.classification.clauses import ClauseConfig as ClauseConfig
from morphax.classification.train import LearnedClassifier as LearnedClassifier
from morphax.classification.train import learn_classifier as learn_classifier
