"""
Training of the classifiers that ship as weights: `train` fits and reports, `fit` and `metrics` are what it is made of.
"""
