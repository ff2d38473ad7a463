"""
Backends that stream what a script says, and a bench to walk them on.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.lowlevel import checkpoint

from meshwalk.backends.base import ChatRequest, OnPiece
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine
from meshwalk.model import Amount
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.review.replay import replay
from meshwalk.trace import Message, Piece, Reply, Request, Scopes, Traversal, Usage, decode, encode


Step = Piece | Reply | Exception | anyio.Event | None


class Streamer:
    """
    Tell what a script says, piece by piece: an event is waited for, an exception raised, None never ends, a reply ends.
    """

    waits = True

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = list(scripts)
        self.asked: list[ChatRequest] = []
        # Set when the first call is made, the second, and so on.
        self.called = [anyio.Event() for _ in scripts]
        self.cancelled = 0

    async def chat(self, request: ChatRequest) -> Reply:
        return await self.stream(request, lambda _: None)

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        self.called[len(self.asked)].set()
        self.asked.append(request)
        try:
            for step in self._scripts.pop(0):
                if isinstance(step, Piece):
                    on_piece(step)
                    # Whoever does not want the rest has its turn.
                    await checkpoint()
                elif isinstance(step, anyio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                elif isinstance(step, Reply):
                    return step
                else:
                    await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        raise AssertionError("a script ends with a reply, an exception or None")

    async def aclose(self) -> None:
        pass


class Whole:
    """
    Answer at once, as a backend that cannot stream.
    """

    waits = False

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages

        return self._reply

    async def aclose(self) -> None:
        pass


def pieces(chance: float, *texts: str) -> list[Step]:
    return [Piece(text, 1, (chance,)) for text in texts]


def whole(text: str) -> Reply:
    return Reply(text, usage=Usage(10, 5), model="m")


class Bench:
    """
    Walk one request, and keep what was told and recorded.
    """

    def __init__(self, little: Streamer | Whole, great: Streamer | Whole | None = None, *, plan: Plan) -> None:
        self.vault = MemoryVault()
        self.records: list[Traversal] = []
        self.told: list[tuple[int, str]] = []
        backends = {"little": little, "great": great or Streamer()}
        self.plan = plan
        self.engine = Engine(plan, backends, self.records.append, vault=self.vault)

    async def walk(self) -> RouteResult:
        request = Request((Message("user", "What is the capital of France?"),), scopes=Scopes(session="s"))

        return await self.engine.walk(request, on_delta=lambda hop, text: self.told.append((hop, text)))

    async def check(self) -> None:
        """
        Hold the record to its replay, and the books to the record.
        """
        (record,) = self.records
        assert replay(decode(encode(record)), self.plan) is None

        (statement,) = await self.vault.reports("default")
        assert (Amount(), 0) == (statement.reserved, statement.reservations)
        assert record.cost_nano_usd == statement.spent.cost_nano_usd


async def walked(bench: Bench) -> RouteResult:
    done = await bench.walk()
    await bench.check()

    return done
