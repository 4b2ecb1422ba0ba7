"""Classifiers that are binary to the end: clauses (hit-or-misses) whose bits vote for classes.

`model` is the classifier as a model, `config` has its settings, and `train` learns it: from the
start to the network with `latent`, through what `clauses` computes. `refit` fits a real last layer
to bits, for networks that end in one.
"""

from morphax.classification.config import ClauseConfig as ClauseConfig
from morphax.classification.refit import Head as Head
from morphax.classification.refit import refit_head as refit_head
from morphax.classification.train import LearnedClassifier as LearnedClassifier
from morphax.classification.train import learn_classifier as learn_classifier
