"""
The stair: one request's way through a plan, decided and nothing else.

`Walk` takes whatever may happen, entry by entry; `admission` lets requests in, and `attempts` decides on the calls of a hop.
"""

from __future__ import annotations

from meshwalk.walk.machine import Phase, Walk


__all__ = ["Phase", "Walk"]
