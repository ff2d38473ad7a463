"""
One backend's endpoints, shared among all calls that this process makes to it; a machine that says who goes where, and when.

A call asks to `enter`.  It is given an endpoint that is well (its breaker lets it through, it does not rest), has a place
(`concurrency`) and has allowance (`requests_per_minute`, `tokens_per_minute`); or it waits in line; or it is refused, at once
where waiting would be in vain.  Among several endpoints chance chooses by weight.  With `sticky` a session's calls go to the
first endpoint in an order of its own (weighted rendezvous hashing, so that most sessions stay where they are when an endpoint
comes or goes), and to the next in it where that one is not well or has no room: holding a session to a full endpoint would
hold up everybody behind it.

An endpoint that asked to be left alone (`Retry-After`) rests until then.  The tokens of a call are charged by what it may
need at most when it enters, and corrected by what it used when it leaves.

Invariants:

1. No endpoint has more calls under way than its `concurrency`, and none is called while its breaker is open or it rests.
2. Calls are let in in the order they came; nobody passes those who wait.
3. At most `queue` calls wait, none longer than `queue_wait` or past its own time.
4. What the limits cannot admit before a call's time is over is refused when that is known: as it comes, or as they worsen.
5. An endpoint that the hop tried already is given only if no other can take the call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from meshwalk.model import Breaker, Endpoint, Traffic
from meshwalk.walk.attempts.breaker import Circuit, Ticket
from meshwalk.walk.attempts.meter import Meter
from meshwalk.walk.attempts.refusals import Refused, limited, no_place, none_well, queue_full, resting


# The outcomes of a call that tell of its endpoint's health.
_GOOD = frozenset({None, "refused_by_model"})
_BAD = frozenset({"unreachable", "overloaded", "timeout", "malformed"})

# A Retry-After of days is somebody's slip, and must not take an endpoint away for good.
_LONGEST_REST_US = 3_600_000_000


class Ask(NamedTuple):
    """
    A request for an endpoint.

    Args:
        tokens: What the call may need at most, sent and received.
        stick_to: Whose calls stay together; empty for none.
        avoid: The endpoints that the hop tried already.
        until_us: The time after which no endpoint helps any more.
    """

    tokens: int
    until_us: int
    stick_to: str = ""
    avoid: frozenset[str] = frozenset()


class Pick(NamedTuple):
    """
    An endpoint that was given; the fields after its name are for `Pool.leave`.
    """

    endpoint: str
    place: int
    tokens: int
    ticket: Ticket | None


class Waiting(NamedTuple):
    """
    A place in the queue, the *number*-th ever given; it looks again when it is woken, at the latest at *look_again_at_us*.
    """

    number: int
    look_again_at_us: int


class PoolCounts(NamedTuple):
    """
    The endpoints of a backend, those of them whose breakers let calls through, and its calls in flight and waiting.
    """

    endpoints: int
    well: int
    in_flight: int
    waiting: int


class _Waiter(NamedTuple):
    ask: Ask
    last_us: int


class _Place:
    """
    The state of one endpoint.
    """

    __slots__ = (
        "circuit",
        "concurrency",
        "endpoint",
        "index",
        "name",
        "requests",
        "rest_class",
        "rests_until_us",
        "tokens",
        "under_way",
    )

    def __init__(self, index: int, endpoint: Endpoint, traffic: Traffic, breaker: Breaker | None) -> None:
        self.index = index
        self.name = endpoint.name
        self.endpoint = endpoint
        self.concurrency = _own(endpoint.concurrency, traffic.concurrency)
        self.requests = _metered(_own(endpoint.requests_per_minute, traffic.requests_per_minute))
        self.tokens = _metered(_own(endpoint.tokens_per_minute, traffic.tokens_per_minute))
        self.circuit = None if breaker is None else Circuit(breaker)
        self.under_way = 0
        self.rests_until_us = 0
        self.rest_class = ""

    def is_well(self, at_us: int) -> bool:
        return self.circuit is None or self.circuit.admits(at_us)

    @property
    def is_closed(self) -> bool:
        # It counts as well when another one is to be left alone.
        return self.circuit is None or self.circuit.is_closed

    def comes_back(self, before: int) -> bool:
        """
        Tell whether its breaker lets calls through by then, or may.
        """
        probe_at_us = None if self.circuit is None else self.circuit.probe_at_us

        return probe_at_us is None or probe_at_us < before

    @property
    def has_place(self) -> bool:
        return self.concurrency is None or self.under_way < self.concurrency

    def free_at_us(self, at_us: int, tokens: int) -> int:
        """
        Return when its limits let a call in.
        """
        free = max(at_us, self.rests_until_us)
        if self.requests is not None:
            free = max(free, self.requests.free_at_us(at_us, 1))
        if self.tokens is not None:
            free = max(free, self.tokens.free_at_us(at_us, tokens))

        return free

    def can_take(self, at_us: int, tokens: int) -> bool:
        return self.has_place and self.is_well(at_us) and self.free_at_us(at_us, tokens) <= at_us


def _own(mine: int | None, theirs: int | None) -> int | None:
    return theirs if mine is None else mine


def _metered(per_minute: int | None) -> Meter | None:
    return None if per_minute is None else Meter(per_minute)


class Pool:
    """
    The endpoints of the backend called *name*, shared by its calls.

    Args:
        endpoints: None of them stands for the one that the backend itself is.
    """

    def __init__(self, name: str, endpoints: Sequence[Endpoint], traffic: Traffic) -> None:
        self.name = name
        self._traffic = traffic
        breaker = traffic.breaker
        if breaker is None and len(endpoints) > 1:
            breaker = Breaker()
        self._places = [
            _Place(index, endpoint, traffic, breaker) for index, endpoint in enumerate(endpoints or (Endpoint(""),))
        ]
        self._metered = any(place.requests is not None or place.tokens is not None for place in self._places)
        # In order of arrival.
        self._line: dict[int, _Waiter] = {}
        self._numbered = 0

    def __repr__(self) -> str:
        under_way = ", ".join(f"{place.name or 'calls'} {place.under_way}" for place in self._places)

        return f"<Pool {self.name}: {under_way}, {len(self._line)} waiting>"

    # ---- coming in ----------------------------------------------------------------------------------------------

    def enter(self, ask: Ask, at_us: int, chance: float) -> Pick | Waiting | Refused:
        """
        Ask for an endpoint as one who comes at *at_us*.

        Args:
            chance: Which of several endpoints it is, in 0..1.
        """
        if not self._line:
            pick = self._pick(ask, at_us, chance)
            if pick is not None:
                return pick
        wait_us = self._traffic.queue_wait_us
        waiter = _Waiter(ask, ask.until_us if wait_us is None else min(ask.until_us, at_us + wait_us))
        refused = self._hopeless(waiter, at_us, self._line.values())
        if refused is not None:
            return refused
        if len(self._line) >= self._traffic.queue:
            if not self._line and not any(place.free_at_us(at_us, ask.tokens) <= at_us for place in self._well(at_us)):
                return self._limited(self._well(at_us), ask, at_us)
            return queue_full(self.name, self.under_way, len(self._line))
        self._numbered += 1
        self._line[self._numbered] = waiter

        return Waiting(self._numbered, self._look_again_at(self._numbered, waiter, at_us))

    def enter_now(self, ask: Ask, at_us: int, chance: float) -> Pick | None:
        """
        Ask for an endpoint as one who comes at *at_us* and waits for nobody; None leaves everything as it is.
        """
        return None if self._line else self._pick(ask, at_us, chance)

    def look(self, number: int, at_us: int, chance: float) -> Pick | Waiting | Refused:
        """
        Look again as one who waits; whoever is given an endpoint or refused waits no more.
        """
        waiter = self._line[number]
        if number == self.first:
            pick = self._pick(waiter.ask, at_us, chance)
            if pick is not None:
                del self._line[number]
                return pick
        refused = self._hopeless(waiter, at_us, self._before(number))
        if refused is None and at_us >= waiter.last_us:
            refused = no_place(self.name, self.under_way)
        if refused is not None:
            del self._line[number]
            return refused

        return Waiting(number, self._look_again_at(number, waiter, at_us))

    def quit(self, number: int) -> None:
        """
        Leave the line; who does not wait any more may say so again.
        """
        self._line.pop(number, None)

    @property
    def first(self) -> int | None:
        """
        Return the number of the one who has waited longest.
        """
        return next(iter(self._line), None)

    # ---- going out ----------------------------------------------------------------------------------------------

    def leave(
        self,
        pick: Pick,
        at_us: int,
        *,
        error_class: str | None,
        retry_after_us: int | None = None,
        tokens: int | None = None,
        at_fault: bool = False,
    ) -> None:
        """
        Give an endpoint back.

        Args:
            error_class: How the call ended; None if it worked.
            retry_after_us: How long the endpoint asked to be left alone.
            tokens: What the call used; None leaves what it was charged with.
            at_fault: Whether the endpoint itself is at fault, whatever the class is.
        """
        place = self._places[pick.place]
        place.under_way -= 1
        if tokens is not None and place.tokens is not None:
            place.tokens.correct(at_us, pick.tokens, tokens)
        if retry_after_us is not None:
            until_us = at_us + min(retry_after_us, _LONGEST_REST_US)
            if until_us > place.rests_until_us:
                place.rests_until_us = until_us
                place.rest_class = "overloaded" if error_class == "overloaded" else "rate_limited"
        if place.circuit is not None and pick.ticket is not None:
            good = False if at_fault else True if error_class in _GOOD else False if error_class in _BAD else None
            spare = any(other.is_closed for other in self._places if other is not place)
            place.circuit.end(pick.ticket, at_us, good=good, spare=spare)

    # ---- what others may know -----------------------------------------------------------------------------------

    def elsewhere(self, avoid: frozenset[str], tokens: int, at_us: int) -> bool:
        """
        Tell whether an endpoint that is not in *avoid* could take a call of at most so many *tokens* at once.
        """
        return not self._line and any(place.name not in avoid and place.can_take(at_us, tokens) for place in self._places)

    def count(self, at_us: int) -> PoolCounts:
        """
        Count the endpoints and calls of this moment.
        """
        return PoolCounts(len(self._places), len(self._well(at_us)), self.under_way, len(self._line))

    def healthy(self, at_us: int) -> bool:
        """
        Tell whether an endpoint may be called: its breaker lets calls through, and it does not rest.
        """
        return any(place.rests_until_us <= at_us for place in self._well(at_us))

    # ---- choosing -----------------------------------------------------------------------------------------------

    def _well(self, at_us: int) -> list[_Place]:
        return [place for place in self._places if place.is_well(at_us)]

    @property
    def under_way(self) -> int:
        """
        Return how many calls have an endpoint.
        """
        return sum(place.under_way for place in self._places)

    def _pick(self, ask: Ask, at_us: int, chance: float) -> Pick | None:
        able = [place for place in self._places if place.can_take(at_us, ask.tokens)]
        fresh = [place for place in able if place.name not in ask.avoid]
        if not able:
            return None
        place = self._chosen(fresh or able, ask.stick_to, chance)
        place.under_way += 1
        if place.requests is not None:
            place.requests.take(at_us, 1)
        if place.tokens is not None:
            place.tokens.take(at_us, ask.tokens)

        return Pick(place.name, place.index, ask.tokens, None if place.circuit is None else place.circuit.begin())

    def _chosen(self, places: Sequence[_Place], stick_to: str, chance: float) -> _Place:
        if len(places) == 1:
            return places[0]
        if stick_to and self._traffic.sticky is not None:
            return max(places, key=lambda place: _affinity(stick_to, place.endpoint))
        left = chance * sum(place.endpoint.weight for place in places)
        for place in places:
            left -= place.endpoint.weight
            if left < 0:
                return place

        return places[-1]

    # ---- waiting, or not ----------------------------------------------------------------------------------------

    def _before(self, number: int) -> Iterable[_Waiter]:
        for other, waiter in self._line.items():
            if other == number:
                return
            yield waiter

    def _look_again_at(self, number: int, waiter: _Waiter, at_us: int) -> int:
        """
        Return the next time at which a waiter is to look without being woken; for all but the first, the end of its own time.
        """
        if number != self.first:
            return waiter.last_us
        changes = [place.free_at_us(at_us, waiter.ask.tokens) for place in self._well(at_us) if place.has_place]
        changes += [probe_at_us for place in self._places if (probe_at_us := _probe_at_us(place)) is not None]

        return min((change for change in changes if at_us < change < waiter.last_us), default=waiter.last_us)

    def _hopeless(self, waiter: _Waiter, at_us: int, ahead: Iterable[_Waiter]) -> Refused | None:
        """
        Refuse one whom the endpoints cannot take in time, wherever else there may be room.
        """
        well = self._well(at_us)
        if not well:
            return none_well(self.name, [place.name for place in self._places], self._next_probe_us(at_us))
        usable = [place for place in self._places if place in well or place.comes_back(waiter.last_us)]
        if all(place.free_at_us(at_us, waiter.ask.tokens) > max(at_us, waiter.last_us) for place in usable):
            return self._limited(well, waiter.ask, at_us)
        awake = [place for place in usable if place.rests_until_us <= waiter.last_us]
        asks = [*(other.ask for other in ahead), waiter.ask]

        return self._used_up(
            "requests_per_minute", [place.requests for place in awake], [1] * len(asks), at_us, waiter.last_us
        ) or self._used_up(
            "tokens_per_minute", [place.tokens for place in awake], [ask.tokens for ask in asks], at_us, waiter.last_us
        )

    def _used_up(
        self, key: str, meters: Sequence[Meter | None], amounts: Sequence[int], at_us: int, last_us: int
    ) -> Refused | None:
        """
        Refuse the last of *amounts* if all the meters together cannot give them all in time.
        """
        known = [meter for meter in meters if meter is not None]
        if not known or len(known) < len(meters):
            return None
        # More than a minute's worth may make one meter wait, and no other.
        most = max(meter.per_minute for meter in known)
        wanted = sum(min(amount, most) for amount in amounts)
        if wanted <= sum(meter.by(at_us, last_us) for meter in known):
            return None
        per_minute = sum(meter.per_minute for meter in known)
        lacking = wanted - sum(meter.by(at_us, at_us) for meter in known)

        return limited(self.name, key, per_minute, lacking * 60_000_000 // per_minute, len(amounts) - 1)

    def _next_probe_us(self, at_us: int) -> int | None:
        due = [probe_at_us - at_us for place in self._places if (probe_at_us := _probe_at_us(place)) is not None]

        return min(due, default=None)

    def _limited(self, well: Sequence[_Place], ask: Ask, at_us: int) -> Refused:
        """
        Return the refusal that names the limit of the endpoint that is free soonest.
        """
        place = min(well, key=lambda place: place.free_at_us(at_us, ask.tokens))
        wait_us = place.free_at_us(at_us, ask.tokens) - at_us
        if place.rests_until_us - at_us >= max(wait_us, 1):
            return resting(self.name, place.name, place.rest_class, wait_us)
        by_requests = place.requests is not None and place.requests.free_at_us(at_us, 1) - at_us >= wait_us
        meter = place.requests if by_requests else place.tokens
        assert meter is not None, "only a rest and a meter put a call off"
        key = "requests_per_minute" if by_requests else "tokens_per_minute"

        return limited(self.name, key, meter.per_minute, wait_us, 0)


def _probe_at_us(place: _Place) -> int | None:
    return None if place.circuit is None else place.circuit.probe_at_us


def _affinity(stick_to: str, endpoint: Endpoint) -> float:
    digest = blake2b(f"{endpoint.name}\0{stick_to}".encode(), digest_size=8).digest()
    # Strictly between 0 and 1, so that its logarithm is below 0.
    share = (int.from_bytes(digest) + 1) / (2**64 + 2)

    return -endpoint.weight / math.log(share)
