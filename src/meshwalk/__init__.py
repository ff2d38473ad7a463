"""
Walk inference requests over a declared graph of models.
"""
