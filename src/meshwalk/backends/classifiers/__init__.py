"""
Classifiers that are neither one of meshwalk's own rules nor a model: trained weights, a service, a function.

All of them are asked alike (`backends.base.Classifier`), and what a service or a function gives is held to what its node
declares (`declared`): a signal that is missing, of another type, outside its range or none of its members makes the hop fail
as `malformed`, so that no guard ever reads it.
"""

from meshwalk.backends.base import Classifier
from meshwalk.backends.classifiers.opening import open_classifier, opens


__all__ = ["Classifier", "open_classifier", "opens"]
