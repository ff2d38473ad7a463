"""
The limiter of a backend, where calls wait for an endpoint.

A limiter owns a pool, a clock and chance; the pool (`attempts.pool`) decides.  It belongs to one event loop, as its mesh does,
so that nothing comes between asking the pool and acting on its answer.

Invariants:

1. A call that stops waiting, for whatever reason, leaves the queue and wakes the next one: no turn is lost.
2. An endpoint that was given is the caller's to give back, once.
3. A call over a network that has less time left than such calls lately needed gets no endpoint (`recent_durations`).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio

from meshwalk.backends.base import ChatRequest
from meshwalk.engine.recent_durations import RecentDurations
from meshwalk.model import AnyBackendSpec, BackendSpec, CacheSpec, Graph, OpenAISpec
from meshwalk.model.problems import BackendError, NotStarted, Overloaded, RateLimited, Unreachable
from meshwalk.walk.attempts import Ask, Pick, Pool, Refused, Waiting


_ERRORS: Mapping[str, type[BackendError]] = {
    "overloaded": Overloaded,
    "rate_limited": RateLimited,
    "unreachable": Unreachable,
}

# The end of the time of a call that does not wait, which nobody looks at.
_NO_WAIT_US = 0

# No hop waits longer.
_LONGEST_WAIT_US = 3_600_000_000

# The end of a call that tells nothing of its endpoint's health.
CANCELLED = "cancelled"


def _no_chance() -> float:
    return 0.0


class Lease(NamedTuple):
    """
    The right of a call to go to *endpoint* (empty: the only one), after a wait, as one of so many *under_way*.
    """

    endpoint: str
    queue_us: int
    pick: Pick
    under_way: int


class BackendStatus(NamedTuple):
    """
    The state of a backend: the counts of its endpoints and calls, and whether one of the endpoints may be called.

    Args:
        well: The endpoints whose breakers let calls through.
    """

    healthy: bool
    endpoints: int
    well: int
    in_flight: int
    waiting: int


class BackendLimiter:
    """
    The limiter of this process's calls to the backend that *spec* declares.

    Attributes:
        plain: True if the author declares no limit, so that a call needs a place and nothing else.

    Args:
        clock_ns: The clock that `until_us` is read from, in nanoseconds.
        chance: Draws a random number in 0..1, which picks one of several endpoints.
    """

    def __init__(self, spec: BackendSpec, clock_ns: Callable[[], int], *, chance: Callable[[], float] = random.random) -> None:
        endpoints = spec.endpoints if isinstance(spec, OpenAISpec) else ()
        self._name = spec.name
        self.plain = not spec.gated
        self._pool = Pool(spec.name, endpoints, spec.effective_traffic)
        self._networked = spec.networked
        # By node: a graph's nodes ask the same model for short answers and for long ones.
        self._durations: dict[str, RecentDurations] = {}
        self._clock_ns = clock_ns
        # Of one endpoint there is nothing to choose.
        self._chance = chance if len(endpoints) > 1 else _no_chance
        self._waiters: dict[int, anyio.Event] = {}

    def __repr__(self) -> str:
        return f"<BackendLimiter of {self._pool!r}>"

    def learn(self, node: str, lease: Lease, duration_us: int, *, worked: bool = True) -> None:
        """
        Take that a call of *node* under *lease* worked, or was cut off; later calls learn from it how long they need.
        """
        if self._networked:
            durations = self._durations.get(node)
            if durations is None:
                durations = self._durations[node] = RecentDurations()
            durations.add(self._now(), duration_us, worked=worked, under_way=lease.under_way)

    def _lately_needed_us(self, node: str, at: int) -> tuple[int, int]:
        """
        Return the time that a call of *node* needs at least, and the time that it very likely ends in.
        """
        durations = self._durations.get(node)

        return (0, 0) if durations is None else durations.needed_us(at, self._pool.under_way)

    async def enter(
        self, *, tokens: int, stick_to: str = "", avoid: frozenset[str] = frozenset(), until_us: int, node: str = ""
    ) -> Lease:
        """
        Wait for an endpoint as long as the call can end by *until_us*; the lease must be given back by `leave`.

        Args:
            node: The node that calls, if it declares no `min_time`; its recent calls tell how long this one needs.
            tokens: What the call may need at most, sent and received.
            stick_to: The session or workflow whose calls stay together; empty for none.
            avoid: The endpoints that the hop tried already.

        Raises:
            BackendError: `Overloaded`, `RateLimited`, `Unreachable` or `NotStarted`: nothing was sent, and nothing is charged.
        """
        came = self._now()
        needed_us, enough_us = self._lately_needed_us(node, came)
        if needed_us and until_us - came < needed_us:
            left = f"{max(0, until_us - came) / 1e6:.3g} s are left"
            message = f"by its recent calls backend '{self._name}' needs {needed_us / 1e6:.3g} s or more, and {left}"
            self._durations[node].refused(came)
            raise NotStarted(message, backend=self._name)
        ends_us = until_us
        # It waits no longer than it will very likely end in time.
        until_us -= enough_us
        answer = self._pool.enter(Ask(tokens, until_us, stick_to, avoid), came, self._chance())
        if isinstance(answer, Waiting):
            answer = await self._wait(answer)
            if isinstance(answer, Pick) and ends_us - self._now() < self._lately_needed_us(node, came)[1]:
                # More is known than when it came.
                self._pool.leave(answer, self._now(), error_class=CANCELLED, tokens=0)
                self._call_next()
                raise Overloaded(f"backend '{self._name}' had no place in time to end", backend=self._name)
        if isinstance(answer, Refused):
            raise _ERRORS[answer.error_class](answer.message, backend=self._name, retry_after_us=answer.retry_after_us)

        return Lease(answer.endpoint, self._now() - came, answer, self._pool.under_way)

    def enter_now(self, *, tokens: int, stick_to: str = "", node: str = "", left_us: int) -> Lease | None:
        """
        Return an endpoint that is free at once, to be given back by `leave`; None if there is none, and nothing has changed.

        Args:
            node: As for `enter`.
            left_us: The time that the call has; None is returned, too, if that is too little.
        """
        at = self._now()
        if left_us < self._lately_needed_us(node, at)[0]:
            return None
        pick = self._pool.enter_now(Ask(tokens, _NO_WAIT_US, stick_to), at, self._chance())

        return None if pick is None else Lease(pick.endpoint, 0, pick, self._pool.under_way)

    def leave(
        self,
        lease: Lease,
        *,
        error_class: str | None,
        retry_after_us: int | None = None,
        tokens: int | None = None,
        at_fault: bool = False,
    ) -> None:
        """
        Give the endpoint back, and wake the call that may have it now.

        Args:
            error_class: How the call ended: None if it worked, `cancelled` if that says nothing of the endpoint.
            retry_after_us: How long the endpoint asked to be left alone.
            tokens: What the call used; None leaves what it was charged with.
            at_fault: Whether the endpoint itself is at fault, whatever the class is.
        """
        self._pool.leave(
            lease.pick,
            self._now(),
            error_class=error_class,
            # An author who declares nothing has each call dealt with by itself.
            retry_after_us=None if self.plain else retry_after_us,
            tokens=tokens,
            at_fault=at_fault,
        )
        if error_class is None or error_class == CANCELLED:
            self._call_next()
        else:
            # It may be left alone now, and then those who wait in vain should hear of it at once.
            for turn in self._waiters.values():
                turn.set()

    def elsewhere(self, avoid: frozenset[str], tokens: int) -> bool:
        """
        Tell whether an endpoint that is not in *avoid* could take a call of at most so many *tokens* at once.
        """
        return not self.plain and self._pool.elsewhere(avoid, tokens, self._now())

    @property
    def healthy(self) -> bool:
        """
        Tell whether an endpoint may be called: its breaker lets calls through, and it does not rest.
        """
        return self._pool.healthy(self._now())

    @property
    def status(self) -> BackendStatus:
        """
        Return the state of the backend as this process knows it.
        """
        at = self._now()

        return BackendStatus(self._pool.healthy(at), *self._pool.count(at))

    def _now(self) -> int:
        return self._clock_ns() // 1000

    async def _wait(self, answer: Waiting) -> Pick | Refused:
        number = answer.number
        try:
            while True:
                turn = self._waiters[number] = anyio.Event()
                with anyio.move_on_after((answer.look_again_at_us - self._now()) / 1e6):
                    await turn.wait()
                found = self._pool.look(number, self._now(), self._chance())
                if not isinstance(found, Waiting):
                    return found
                answer = found
        finally:
            del self._waiters[number]
            self._pool.quit(number)
            self._call_next()

    def _call_next(self) -> None:
        first = self._pool.first
        if first is not None:
            self._waiters[first].set()


def limiters(
    graph: Graph, names: Iterable[str], clock_ns: Callable[[], int], chance: Callable[[], float] = random.random
) -> dict[str, BackendLimiter]:
    """
    Make a limiter for each backend of *names* that is called over a network, bounds its traffic or has endpoints.
    """
    specs: Iterable[AnyBackendSpec] = (graph.backends[name] for name in names)

    # A cache waits for nobody: what it does not have it asks of the other backend, through that one's limiter.
    bounded = [spec for spec in specs if (spec.gated or spec.networked) and not isinstance(spec, CacheSpec)]

    return {spec.name: BackendLimiter(spec, clock_ns, chance=chance) for spec in bounded}


@asynccontextmanager
async def limited(limiter: BackendLimiter, clock_ns: Callable[[], int], request: ChatRequest) -> AsyncIterator[ChatRequest]:
    """
    Hold a lease for *request* for as long as the context is open; the caller bounds the wait by cancelling it.
    """
    size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    lease = await limiter.enter(
        tokens=size + (request.sampling.max_tokens or 0), until_us=clock_ns() // 1000 + _LONGEST_WAIT_US
    )
    if request.progress is not None:
        request.progress.queue_us += lease.queue_us
    ended: str | None = CANCELLED
    rest_us: int | None = None
    at_fault = False
    try:
        yield request._replace(endpoint=lease.endpoint)
        ended = None
    except BackendError as error:
        ended, rest_us, at_fault = error.error_class, error.retry_after_us, error.of_endpoint
        raise
    finally:
        limiter.leave(lease, error_class=ended, retry_after_us=rest_us, at_fault=at_fault)
