"""
Every sentence said of a graph that cannot be read as it stands.
"""
