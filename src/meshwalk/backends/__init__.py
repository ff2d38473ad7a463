"""
What a hop calls, and what is made of its reply: backends, classifiers, roles, token counts, outcomes.
"""

from meshwalk.backends.base import Backend, ChatRequest
from meshwalk.backends.cache import CacheBackend
from meshwalk.backends.opening import open_backend
from meshwalk.backends.simulated import SimulatedBackend


__all__ = ["Backend", "CacheBackend", "ChatRequest", "SimulatedBackend", "open_backend"]
