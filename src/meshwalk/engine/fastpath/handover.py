"""
Where a straight walk has to go on as an ordinary one, and with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwalk.engine.call_state import Line
from meshwalk.engine.calls import Ended
from meshwalk.engine.walk_budget import Purse
from meshwalk.trace import Entry, Reply, Straight


class Detour(NamedTuple):
    """
    Hold a walk that went straight so far.

    Args:
        told: What happened.
        replies: What was replied, by hop.
        purse: Where shared budgets count, what the walk holds in them; None otherwise.
        entry: What happened last, which was not straight; None if it is the walk itself that cannot go on straight.
        line: What the hop under way has reserved, if it has.
        granted_at: When that was granted.
        ended: How its call ended, if that was made.
        raised: What ended the walk, while nothing was called.
    """

    told: Straight
    replies: Mapping[int, Reply]
    purse: Purse | None = None
    entry: Entry | None = None
    line: Line | None = None
    granted_at: int = 0
    ended: Ended | None = None
    raised: BaseException | None = None
