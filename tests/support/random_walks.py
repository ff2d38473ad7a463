"""
Walks over random plans whose backends say what they are told to, whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from hypothesis import strategies as st

from meshwalk.backends.base import ChatRequest
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine
from meshwalk.model import Limits
from meshwalk.plan import Plan
from meshwalk.trace import Message, Reply, Request, Scopes, Timing, Traversal, Usage
from tests.support.random_plans import REASONS


_USAGE = st.builds(Usage, *[st.integers(0, most) for most in (30, 60, 2, 2, 2)])
REPLIES = st.builds(
    Reply,
    st.just("yes"),
    finish_reason=st.sampled_from((*REASONS, "", "eos", "à la fin")),
    usage=st.none() | _USAGE,
    confidence=st.none() | st.floats(0, 1),
    timing=st.builds(Timing, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    model=st.sampled_from(["", "small-1"]),
    simulated=st.booleans(),
    cache_age_us=st.none() | st.integers(0, 9),
)


class Saying:
    """
    Give the replies of a script, over and over.
    """

    waits = False

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = replies
        self._next = 0

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages
        self._next += 1

        return self._replies[self._next % len(self._replies)]

    async def aclose(self) -> None:
        pass


def walks_of(plan: Plan, replies: Sequence[Reply], sessions: Sequence[str]) -> list[Traversal]:
    """
    Walk *plan* twice for each of *sessions*, with backends that give *replies* over and over, and return the records.
    """
    records: list[Traversal] = []
    backend = Saying(replies)
    engine = Engine(plan, {"b0": backend, "b1": backend}, records.append, vault=MemoryVault())

    async def walks() -> None:
        for session in sessions:
            request = Request(
                (Message("user", "x"),), scopes=Scopes(session, "w", "default"), limits=Limits(deadline_us=20_000_000)
            )
            # The first of a kind is told at length, and those after it by what was kept of it.
            await engine.walk(request)
            await engine.walk(request)

    anyio.run(walks)

    return records


SESSIONS = st.lists(st.sampled_from(["", "s", "tée"]), min_size=1, max_size=4)
SEVERAL = st.lists(REPLIES, min_size=1, max_size=6)
