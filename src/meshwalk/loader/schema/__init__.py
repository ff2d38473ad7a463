"""
The shape of each part of a graph, and the JSON Schema made of them.
"""
