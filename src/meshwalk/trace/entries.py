"""
Entries, the events that a walk is fed, and the types that they are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Literal, NamedTuple, Protocol, get_args

from meshwalk.model import Amount, Caps, Limits, Sampling, Value
from meshwalk.model.constructors import fast_constructor
from meshwalk.model.problems import ErrorClass
from meshwalk.trace.exchange import Scopes, Timing, Usage


# The sureness of a cost, from the surest to the weakest: nothing was sent; the provider said it; counted here and priced; sent
# and never answered, so taken for the worst case; or answered, and no price is declared that could say what it cost.
Basis = Literal["none", "reported", "estimated", "assumed", "unpriced"]
AttemptStatus = Literal["ok", "failed", "timeout", "cancelled", "denied"]


class ScopeView(NamedTuple):
    """
    One budget scope, as a walk last saw it.

    Args:
        used: What is spent and what is reserved.
        away: `open` or `local` where the vault did not answer and that policy held; *used* is then what this server knows.
    """

    scope: str
    caps: Caps = Caps()
    used: Amount = Amount()
    away: str = ""

    def changed(self, change: Amount) -> ScopeView:
        """
        Return this view with *change* added to what is used.
        """
        scope, caps, used, away = self

        return make_view((scope, caps, used.plus(change), away))


make_view = fast_constructor(ScopeView)


class Attempt(NamedTuple):
    """
    The record of one call made for a hop.

    Args:
        status: `denied` means that the ledger did not grant it and nothing was sent.
        span_id: The span under which a backend saw the call (16 hex digits).
        waited_us: How long a further call waited for others to settle before it began; of a hop's first, `Granted` tells.
        endpoint: Which endpoint of the backend took it, where the backend has several.
        hedge: Whether it was made beside another one, because that was slow.
        backoff_us: How long it was put off after the failure of the one before.
        cache_age_us: How old the reply is that a cache gave; None if no cache did.
        tokens_seen: Of a streamed reply that was not finished: how many tokens of it had arrived.
        mended: What its backend had to mend to read the answer.
    """

    started_us: int
    latency_us: int
    status: AttemptStatus
    timing: Timing = Timing()
    error_class: str = ""
    message: str = ""
    usage: Usage = Usage()
    reserved_nano_usd: int = 0
    cost_nano_usd: int = 0
    basis: Basis = "none"
    backend: str = ""
    model: str = ""
    finish_reason: str = ""
    simulated: bool = False
    span_id: str = ""
    waited_us: int = 0
    endpoint: str = ""
    hedge: bool = False
    backoff_us: int = 0
    cache_age_us: int | None = None
    tokens_seen: int = 0
    mended: tuple[str, ...] = ()


_BASES: tuple[Basis, ...] = get_args(Basis)


def weakest(bases: Iterable[Basis]) -> Basis:
    """
    Return the least certain of *bases*: unpriced, then assumed, then estimated, then reported.
    """
    return _BASES[max((_BASES.index(basis) for basis in bases), default=0)]


class _Counted(Protocol):
    @property
    def usage(self) -> Usage: ...


def total_usage(calls: Iterable[_Counted]) -> Usage:
    """
    Add up the tokens of *calls*.
    """
    read = written = cached = reasoned = stored = 0
    for call in calls:
        used = call.usage
        read += used[0]
        written += used[1]
        cached += used[2]
        reasoned += used[3]
        stored += used[4]

    return Usage(read, written, cached, reasoned, stored)


def calling_us(attempts: Sequence[Attempt]) -> int:
    """
    Return for how long at least one of *attempts* was under way; a hedged one runs beside another.
    """
    if len(attempts) < 2:
        return attempts[0].latency_us if attempts else 0
    total = until_us = 0
    for attempt in sorted(attempts, key=attrgetter("started_us")):
        end_us = attempt.started_us + attempt.latency_us
        total += max(0, end_us - max(until_us, attempt.started_us))
        until_us = max(until_us, end_us)

    return total


class Facts(NamedTuple):
    """
    The facts of a request that decisions may depend on.

    Args:
        attributes: Every attribute with its value, defaults filled in, in declared order.
        input_bytes: The UTF-8 bytes of the messages, tools and formats, for the bound on input tokens.
        counted: The tokens that each node's call sends, by the node's name, where its backend declares a tokenizer.
        healthy: Whether each backend whose health some guard reads could be called when the walk began, by its name.
        images: The images among the content of the messages.
    """

    attributes: tuple[tuple[str, Value], ...]
    input_bytes: int
    messages: int
    sampling: Sampling = Sampling()
    scopes: Scopes = Scopes()
    counted: tuple[tuple[str, int], ...] = ()
    healthy: tuple[tuple[str, bool], ...] = ()
    images: int = 0


make_facts = fast_constructor(Facts)


class Began(NamedTuple):
    """
    The start of a walk, under its effective limits.
    """

    at_us: int
    facts: Facts
    limits: Limits
    views: tuple[ScopeView, ...]


class Granted(NamedTuple):
    """
    The grant of a reservation, after a wait for others to settle.
    """

    hop: int
    at_us: int
    views: tuple[ScopeView, ...]
    waited_us: int = 0


class Denied(NamedTuple):
    """
    The refusal of a reservation in *scope*.

    Args:
        contended: It would fit what is spent, and not what others have reserved: a later try may be granted.
    """

    hop: int
    at_us: int
    scope: str
    message: str
    views: tuple[ScopeView, ...]
    contended: bool = False
    waited_us: int = 0


class PrefixJudged(NamedTuple):
    """
    The outputs of the beginning of a streamed reply, at the point where it must be judged.

    Args:
        tokens: How many tokens had arrived.
    """

    hop: int
    at_us: int
    outputs: Mapping[str, Value]
    tokens: int


class Stopped(NamedTuple):
    """
    The end of a hop whose call the walk stopped after its beginning was judged.
    """

    hop: int
    at_us: int
    attempts: tuple[Attempt, ...] = ()
    views: tuple[ScopeView, ...] = ()


class Replied(NamedTuple):
    """
    The end of a hop that worked; *views* show the scopes with its cost in place of its reservation.
    """

    hop: int
    at_us: int
    outputs: Mapping[str, Value]
    attempts: tuple[Attempt, ...] = ()
    views: tuple[ScopeView, ...] = ()


class Failed(NamedTuple):
    """
    The end of a hop that failed.

    Args:
        scope: The budget scope that refused a further call, if that is why; *contended* as in `Denied`.
    """

    hop: int
    at_us: int
    error_class: ErrorClass
    message: str
    attempts: tuple[Attempt, ...] = ()
    views: tuple[ScopeView, ...] = ()
    scope: str = ""
    contended: bool = False


class TimedOut(NamedTuple):
    """
    The end of a hop whose time was up.
    """

    hop: int
    at_us: int
    message: str
    attempts: tuple[Attempt, ...] = ()
    views: tuple[ScopeView, ...] = ()


class Cancelled(NamedTuple):
    """
    The end of a hop that nobody waits for any more; it may itself have been waiting for others to settle.
    """

    hop: int
    at_us: int
    attempts: tuple[Attempt, ...] = ()
    waited_us: int = 0


# The entries that end a hop and tell of its calls.
Closing = Replied | Stopped | Failed | TimedOut | Cancelled

Entry = Began | Granted | Denied | PrefixJudged | Replied | Stopped | Failed | TimedOut | Cancelled
