"""
The model calls of a hop: backends, classifiers, roles, token counts, outcomes.

Public names for code that adds backends, classifiers or vaults: the protocols to fulfil, and the values that pass through them.
"""

from meshwalk.backends.base import Backend, CallProgress, ChatRequest, Classifier, StreamingBackend
from meshwalk.backends.cache import CacheBackend
from meshwalk.backends.opening import open_backend
from meshwalk.backends.simulated import SimulatedBackend
from meshwalk.budgets.vaults.base import Vault
from meshwalk.trace import Piece, Reply, Timing, TokenProbabilities, Usage


__all__ = [
    "Backend",
    "CacheBackend",
    "CallProgress",
    "ChatRequest",
    "Classifier",
    "Piece",
    "Reply",
    "SimulatedBackend",
    "StreamingBackend",
    "Timing",
    "TokenProbabilities",
    "Usage",
    "Vault",
    "open_backend",
]
