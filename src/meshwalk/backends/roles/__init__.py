"""
The roles of nodes: pure functions from messages or a reply to the values that guards read.

A role does no I/O and keeps nothing between calls; `signals.outputs` declares which values each role writes, and the
functions here give exactly those.  A value that a reply does not carry is left out, unless the node says what stands for it
(`missing:`), so that a guard finds it undetermined rather than wrong.
"""

from meshwalk.backends.roles.classifier import complexity, estimate_tokens, features
from meshwalk.backends.roles.extract import extract
from meshwalk.backends.roles.outputs import READERS, outputs_of, settled
from meshwalk.backends.roles.verifier import agreement


__all__ = ["READERS", "agreement", "complexity", "estimate_tokens", "extract", "features", "outputs_of", "settled"]
