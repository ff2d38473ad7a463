"""
Kept replies: what another backend once said to the very same request of the same tenant.

A request is the same if everything that the other backend would see of it is: messages, sampling, tools and format, how many
samples, and whether probabilities are wanted.  Replies are kept in memory, the least lately used given up first.

Invariants:

1. Only good replies are kept: those that ended, wished for tools, or were cut at the `max_tokens` that the same request
   asks for again.  No error is, and nothing that broke off.
2. No tenant is given what was made for another.
3. Of calls for one reply that come while it is being made, one makes it and the others wait: they have it from the cache.
   If that one goes away, another of them takes over; if it fails, those that waited try for themselves at once, since waiting
   for each other's failures in turn would cost each of them the time of all.
4. Nothing is sent for a hit, or by a call that is still waiting for another's.  Its `CallProgress` says so: cut off, it costs
   nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from hashlib import sha256
from typing import NamedTuple, Self

import anyio

from meshwalk.backends.base import Backend, ChatRequest, OnPiece, StreamingBackend, message_of
from meshwalk.model import CacheSpec
from meshwalk.model.problems import BackendError, SetupError
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Piece, Reply, Timing


# Opens and closes round each call of the other backend, and may change the request; the limiter of its traffic is one.
Enter = Callable[[ChatRequest], AbstractAsyncContextManager[ChatRequest]]

_GOOD = frozenset({"stop", "length", "tool_calls"})

# Bytes of a kept reply beside its text.
_OVERHEAD_BYTES = 64


def _is_answer(reply: Reply) -> bool:
    """
    Tell whether a reply is one to keep: it ended well, and says something.
    """
    return reply.finish_reason in _GOOD and bool(reply.text or reply.tool_calls)


class _Kept(NamedTuple):
    """
    A cached reply, and the probabilities of its tokens if it was streamed.
    """

    reply: Reply
    at_ns: int
    size: int
    tokens: int
    probabilities: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()


class _Flight:
    """
    A reply that is being made, which other calls wait for.

    Args:
        failed: Whether its maker was told by the other backend that there will be none.
    """

    __slots__ = ("failed", "kept", "over")

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.kept: _Kept | None = None
        self.failed = False


class CacheBackend(AsyncResource):
    """
    A cache of the replies of *inner*, which is not closed with the cache.

    Args:
        of: The other backend's name.
        ttl_us: How long a reply is kept.
        entries: How many are kept at most.
        size_bytes: How many bytes of text are kept at most.
        enter: Entered round each call of *inner*; hits do not come through it.
    """

    def __init__(
        self,
        name: str,
        inner: Backend,
        *,
        of: str,
        ttl_us: int = 600_000_000,
        entries: int = 10_000,
        size_bytes: int = 64 << 20,
        enter: Enter | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.waits = inner.waits or enter is not None
        self._enter = enter
        self._inner = inner
        self._of = of
        self._ttl_ns = ttl_us * 1000
        self._entries = entries
        self._max_bytes = size_bytes
        self._clock_ns = clock_ns
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bytes = 0
        self._flights: dict[bytes, _Flight] = {}

    @classmethod
    def declared(cls, spec: CacheSpec, inner: Backend, clock_ns: Callable[[], int] = time.monotonic_ns) -> Self:
        """
        Make the cache that a graph declares.
        """
        return cls(
            spec.name,
            inner,
            of=spec.of,
            ttl_us=spec.ttl_us,
            entries=spec.entries,
            size_bytes=spec.size_bytes,
            clock_ns=clock_ns,
        )

    @property
    def of(self) -> str:
        """
        Name the other backend.
        """
        return self._of

    @property
    def bytes_kept(self) -> int:
        """
        Count what is kept.
        """
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def enter_through(self, enter: Enter) -> None:
        """
        Let every further call of the other backend go through *enter*, as the one that the cache may be made with.
        """
        self._enter = enter
        self.waits = True

    def __repr__(self) -> str:
        return f"<CacheBackend {self.name}: {len(self._kept)} replies, {self._bytes} bytes, {len(self._flights)} on their way>"

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Give the reply that is kept, or call for one.

        Raises:
            BackendError: As the other backend does.
        """
        return await self._answer(request, None)

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        """
        Give the reply that is kept as one piece, or call for one, piece by piece.

        Raises:
            BackendError: As the other backend does.
        """
        return await self._answer(request, on_piece)

    async def aclose(self) -> None:
        """
        Forget all replies.
        """
        self._kept.clear()
        self._bytes = 0

    # ---- what is kept -----------------------------------------------------------------------------------------------

    def _key(self, request: ChatRequest) -> bytes:
        # A repr is exact: it tells 1 from 1.0 and where one text ends from where the next begins.
        asked = (request.messages, request.sampling, request.form, request.samples, request.probabilities)

        return sha256(repr((self._of, request.tenant, asked)).encode()).digest()

    def _find(self, key: bytes) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock_ns() - kept.at_ns >= self._ttl_ns:
            self._forget(key)
            return None
        self._kept.move_to_end(key)

        return kept

    def _forget(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size

    def _keep(self, key: bytes, kept: _Kept) -> None:
        self._forget(key)
        if kept.size > self._max_bytes:
            return
        self._kept[key] = kept
        self._bytes += kept.size
        while len(self._kept) > self._entries or self._bytes > self._max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].size

    # ---- calls ------------------------------------------------------------------------------------------------------

    async def _answer(self, request: ChatRequest, on_piece: OnPiece | None) -> Reply:
        key = self._key(request)
        progress = request.progress
        # Said before anything is waited for: whoever is cut off here has cost nothing.
        if progress is not None:
            progress.sent = False
        kept, waited_us = self._find(key), 0
        if kept is None and key in self._flights:
            began = self._clock_ns()
            kept = await self._wait(key)
            waited_us = (self._clock_ns() - began) // 1000
        if progress is not None:
            progress.sent = kept is None
            progress.queue_us += waited_us
        if kept is None:
            made = await self._make(key, request, on_piece)
            timing = made.timing._replace(queue_us=made.timing.queue_us + waited_us)
            return _copied(made, timing, made.cost_nano_usd, None) if waited_us else made
        if on_piece is not None and kept.reply.text:
            on_piece(Piece(kept.reply.text, kept.tokens, kept.probabilities, kept.margins))

        return _copied(kept.reply, Timing(waited_us), 0, (self._clock_ns() - kept.at_ns) // 1000)

    async def _wait(self, key: bytes) -> _Kept | None:
        """
        Return what is kept once nobody is making it; None leaves it to the caller to make it.
        """
        kept = None
        while kept is None and (flight := self._flights.get(key)) is not None:
            await flight.over.wait()
            # A reply that is too large to be kept is still given to those that waited.
            kept = flight.kept or self._find(key)
            if flight.failed:
                break

        return kept

    async def _make(self, key: bytes, request: ChatRequest, on_piece: OnPiece | None) -> Reply:
        flight = _Flight()
        # After a failure several may be making one reply; the first of them is waited for.
        leads = self._flights.setdefault(key, flight) is flight
        try:
            kept = await self._call(request, on_piece)
            if _is_answer(kept.reply):
                flight.kept = kept
                self._keep(key, kept)
            else:
                flight.failed = True
        except Exception as error:
            flight.failed = True
            if isinstance(error, BackendError):
                error.args = (message_of(error, self._inner),)
            raise
        finally:
            if leads:
                del self._flights[key]
            flight.over.set()

        return kept.reply

    async def _call(self, request: ChatRequest, on_piece: OnPiece | None) -> _Kept:
        pieces: list[Piece] = []
        async with nullcontext(request) if self._enter is None else self._enter(request) as entered:
            if on_piece is None:
                reply = await self._inner.chat(entered)
            elif isinstance(self._inner, StreamingBackend):
                reply = await self._inner.stream(entered, _both(pieces.append, on_piece))
            else:
                reply = await self._inner.chat(entered)
                on_piece(Piece(reply.text, _tokens(reply)))
        probabilities = tuple(chance for piece in pieces for chance in piece.probabilities)
        margins = tuple(margin for piece in pieces for margin in piece.margins)
        size = _size(reply) + 8 * (len(probabilities) + len(margins))

        return _Kept(
            reply, self._clock_ns(), size, sum(piece.tokens for piece in pieces) or _tokens(reply), probabilities, margins
        )


def _copied(reply: Reply, timing: Timing, cost_nano_usd: int | None, age_us: int | None) -> Reply:
    return Reply(
        reply.text,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        cost_nano_usd=cost_nano_usd,
        confidence=reply.confidence,
        probabilities=reply.probabilities,
        timing=timing,
        model=reply.model,
        simulated=reply.simulated,
        tool_calls=reply.tool_calls,
        samples=reply.samples,
        cache_age_us=age_us,
    )


def _both(first: OnPiece, second: OnPiece) -> OnPiece:
    def on_piece(piece: Piece) -> None:
        first(piece)
        second(piece)

    return on_piece


def _tokens(reply: Reply) -> int:
    return max(1, reply.usage.output_tokens) if reply.usage is not None else 1


def _size(reply: Reply) -> int:
    texts = [reply.text, *reply.samples, *(part for call in reply.tool_calls for part in call)]

    return _OVERHEAD_BYTES + sum(len(text.encode("utf-8", "replace")) for text in texts)


def open_cache(spec: CacheSpec, inner: Backend | None, clock_ns: Callable[[], int] = time.monotonic_ns) -> CacheBackend:
    """
    Make the cache that *spec* describes round *inner*.

    Raises:
        SetupError: If the other backend is not open.
    """
    if inner is None:
        raise SetupError(f"backend '{spec.name}' keeps the replies of '{spec.of}', which has to be opened first")

    return CacheBackend.declared(spec, inner, clock_ns)
