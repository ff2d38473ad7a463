"""
The stair: one request's way through a plan, decided and nothing else.

`Walk` takes whatever may happen, entry by entry.  `StraightWalk` decides the same for as long as nothing but the usual happens,
in a fraction of the time, and says when a walk has to go on as the other kind.
"""

from __future__ import annotations

from meshwalk.walk.machine import Phase, Walk
from meshwalk.walk.straight import Course, StraightWalk


__all__ = ["Course", "Phase", "StraightWalk", "Walk"]
