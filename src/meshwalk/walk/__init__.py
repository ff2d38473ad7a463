"""
The decisions of a walk: entries (events) in, wishes (commands) out.

`Walk` decides one request's way through a plan, entry by entry.  `admission` lets requests in, and `attempts` decides on the
calls of a hop.  Nothing here does what it decides.
"""

from __future__ import annotations

from meshwalk.walk.machine import Phase, Walk


__all__ = ["Phase", "Walk"]
