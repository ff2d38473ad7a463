"""
YAML read into a tree that knows its places.
"""
