"""
A walk as the events of a stream: the hops as they start and end, and the pieces of the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from meshwalk.plan import Plan
from meshwalk.records.events import AnswerDelta, Committed, HopFinished, HopStarted, Progress
from meshwalk.records.hops import Assembly
from meshwalk.trace import Began, Commit, Entry, Granted, PrefixJudged, Wish, disclosed_part
from meshwalk.walk import Phase, Walk


class EventFeed:
    """
    An observer of one walk over *plan* that gives *put* each event as it comes.

    Attributes:
        streamed: Whether the answer is passed on as it comes.
    """

    __slots__ = ("_assembly", "_decided", "_put", "streamed")

    def __init__(self, plan: Plan, put: Callable[[Progress], object]) -> None:
        self.streamed = False
        self._put = put
        self._assembly = Assembly(plan)
        self._decided = 0

    def __call__(self, entry: Entry, wishes: tuple[Wish, ...], walk: Walk) -> None:
        """
        Take an entry, and put the events it makes.
        """
        assembly, known = self._assembly, len(self._assembly.hops)
        # The events are the caller's own.
        assembly.feed(disclosed_part(entry), wishes, walk.path)
        for decision in walk.decisions[self._decided :]:
            assembly.decide(decision)
        self._decided = len(walk.decisions)
        if isinstance(entry, PrefixJudged):
            if any(isinstance(wish, Commit) for wish in wishes):
                self.streamed = True
                self._put(Committed(entry.hop))
        elif not isinstance(entry, Began | Granted):
            self._put(HopFinished(assembly.hops[entry.hop]))
        for hop in assembly.hops[known:]:
            self._put(HopStarted(hop.index, hop.node, hop.role, hop.started_us))
            under_way = hop.index == len(walk.path) - 1 and walk.phase is not Phase.OVER
            if not under_way:
                self._put(HopFinished(hop))

    def delta(self, hop: int, text: str) -> None:
        """
        Take a piece of the answer.
        """
        self._put(AnswerDelta(hop, text))
