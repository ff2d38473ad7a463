"""
The checks of a graph that could be read: its topology, assignment of signals, bounds, and proofs of unreachable parts.
"""
