"""
Looking back: replay of records, evaluation on labelled data, training of classifiers.
"""
