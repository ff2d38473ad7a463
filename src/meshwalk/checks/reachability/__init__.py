"""
Proofs that parts of a graph are never reached: `prove` searches, `encoding` writes guards as formulas of z3.
"""

from meshwalk.checks.reachability.prove import ALL_SECONDS, NODE_SECONDS, Trees, check


__all__ = ["ALL_SECONDS", "NODE_SECONDS", "Trees", "check"]
