"""Classifiers that are binary to the end: clauses (hit-or-misses) whose bits vote for classes.

`model` is the classifier as a model, `clauses` holds its neurons while they are trained, `train`
learns it. `refit` fits a real last layer to bits, for networks that end in one.
"""

from morphax.classification.clauses import ClauseConfig as ClauseConfig
from morphax.classification.refit import Head as Head
from morphax.classification.refit import refit_head as refit_head
from morphax.classification.train import LearnedClassifier as LearnedClassifier
from morphax.classification.train import learn_classifier as learn_classifier
