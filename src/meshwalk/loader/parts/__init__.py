"""
The steps from a document's pieces to the model.
"""
