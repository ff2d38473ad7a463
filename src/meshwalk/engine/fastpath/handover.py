"""
Where a straight walk has to go on as an ordinary one, and with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwalk.engine.call_state import CallState
from meshwalk.engine.calls import Ended
from meshwalk.engine.walk_budget import WalkBudget
from meshwalk.trace import CompactTrace, Entry, Reply


class Handover(NamedTuple):
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

    told: CompactTrace
    replies: Mapping[int, Reply]
    walk_budget: WalkBudget | None = None
    entry: Entry | None = None
    line: CallState | None = None
    granted_at: int = 0
    ended: Ended | None = None
    raised: BaseException | None = None
