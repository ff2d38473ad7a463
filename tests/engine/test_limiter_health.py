"""
`backend.<name>.healthy`: what a gate knows of its backend, as guards see it.
"""

from __future__ import annotations

import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine, limiters
from meshwalk.model.problems import Unreachable
from meshwalk.review.replay import replay
from meshwalk.trace import Message, Reply, Request, Traversal, decode, encode
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: health
    start: intake
    backends:
      usual: {kind: simulated, breaker: {failures: 1, open: 10s}}
      other: {kind: simulated}
    nodes:
      intake:
        role: classifier
        use: features
        next: [{to: first, when: backend.usual.healthy}, {to: second}]
      first: {role: primary, backend: usual, next: done, on_error: second}
      second: {role: primary, backend: other, next: done}
    """
)


class Saying:
    """
    Answer always, or fail while it is `broken`.
    """

    waits = True

    def __init__(self, text: str) -> None:
        self.broken = False
        self.asked = 0
        self._text = text

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages
        self.asked += 1
        if self.broken:
            raise Unreachable("gone", backend="usual")

        return Reply(self._text)

    async def aclose(self) -> None:
        pass


async def test_a_guard_avoids_what_is_out_of_order() -> None:
    """
    Once its breaker is open a backend is unhealthy, and walks that begin then go around it; after the pause one tries again.
    """
    now_us = 0
    records: list[Traversal] = []
    usual, other = Saying("usual"), Saying("other")

    def clock_ns() -> int:
        return now_us * 1000

    engine = Engine(
        PLAN,
        {"usual": usual, "other": other},
        records.append,
        vault=MemoryVault(),
        limiters=limiters(PLAN.graph, ["usual", "other"], clock_ns),
        clock_ns=clock_ns,
    )
    request = Request((Message("user", "Well?"),))
    usual.broken = True
    paths = [(await engine.walk(request)).path for _ in range(2)]
    now_us += 11_000_000
    usual.broken = False
    paths += [(await engine.walk(request)).path for _ in range(2)]

    assert [("intake", "first", "second"), ("intake", "second"), ("intake", "first"), ("intake", "first")] == paths
    assert 3 == usual.asked
    assert [(("usual", well),) for well in (True, False, True, True)] == [record.began.facts.healthy for record in records]
    assert [None] * 4 == [replay(decode(encode(record)), PLAN) for record in records]
