"""
The handover of a walk from the fast path to the full driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwalk.engine.call_state import CallState
from meshwalk.engine.calls import Ended
from meshwalk.engine.walk_budget import WalkBudget
from meshwalk.trace import CompactTrace, Entry, Reply


class Deviation(NamedTuple):
    """
    The event that takes a walk off the fast path; by default none but that the next decision is the full machine's.

    Args:
        entry: An entry that the fast machine does not take.
        call: The call that the hop under way has reserved.
        granted_us: When that was granted.
        ended: The end of that call, if it was made.
        raised: The cancellation that ended the walk, while nothing was called.
    """

    entry: Entry | None = None
    call: CallState | None = None
    granted_us: int = 0
    ended: Ended | None = None
    raised: BaseException | None = None


# The walk goes on as it is: the full driver does the hop under way anew.
NOTHING_HAPPENED = Deviation()


class Handover(NamedTuple):
    """
    A walk that has left the fast path.

    Args:
        trace: Its hops so far.
        replies: Its replies, by hop.
        walk_budget: Its reservations, if shared budgets count or guards read budgets; None otherwise.
    """

    trace: CompactTrace
    replies: Mapping[int, Reply]
    walk_budget: WalkBudget | None
    deviation: Deviation
