"""
What happened and what was wanted: requests, replies, entries, wishes, and the finished record of a walk.

Entries tell a walk what happened, wishes tell the engine what the walk wants; a `Traversal` holds both in the order they
came, with the decisions between them, so that the record is enough to decide everything again.  What people ask for, a hop
with its latency split, tokens and cost, is derived from them in one place, `hops`.

What every walk makes is a NamedTuple or plain slots: a frozen slotted dataclass of eight fields takes five times as long to
make.  Times (`at`, `*_us`) are whole microseconds since the walk began, beside one wall-clock time; money is whole
nano-dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Literal, NamedTuple

import orjson

from meshwalk.model import Limits, Sampling, Value
from meshwalk.problems import ErrorClass, TraceError
from meshwalk.signals import Section


Basis = Literal["none", "reported", "estimated", "assumed"]
AttemptStatus = Literal["ok", "failed", "timeout", "cancelled", "denied"]
HopStatus = Literal["ok", "failed", "timeout", "cancelled", "denied", "skipped", "refused"]


class Message(NamedTuple):
    """
    Hold one chat message.
    """

    role: str
    content: str
    name: str = ""


class Scopes(NamedTuple):
    """
    Name what a request belongs to.
    """

    session: str = ""
    workflow: str = ""


class Request:
    """
    Ask for one walk.

    Args:
        attributes: Values for the graph's declared and built-in attributes; what is left out takes its default.
        limits: May only tighten the graph's; None fields leave them as they are.
        traceparent: A W3C trace context header to continue, or nothing.
    """

    __slots__ = ("attributes", "limits", "messages", "sampling", "scopes", "traceparent")

    def __init__(
        self,
        messages: tuple[Message, ...],
        *,
        attributes: Mapping[str, Value] | None = None,
        sampling: Sampling = Sampling(),
        scopes: Scopes = Scopes(),
        limits: Limits = Limits(),
        traceparent: str = "",
    ) -> None:
        self.messages = messages
        self.attributes: Mapping[str, Value] = attributes or {}
        self.sampling = sampling
        self.scopes = scopes
        self.limits = limits
        self.traceparent = traceparent


class Usage(NamedTuple):
    """
    Count tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0


class Timing(NamedTuple):
    """
    Split a call's latency: waiting for a slot, connecting, first byte after that; the rest is what remains.
    """

    queue_us: int = 0
    connect_us: int = 0
    first_byte_us: int = 0


class TokenProbabilities(NamedTuple):
    """
    Sum up the probabilities of the tokens a model chose, and the mean margin to its second choice where known.
    """

    mean: float
    minimum: float
    margin: float | None = None


class Reply:
    """
    Hold what a backend gave for one call.

    Args:
        usage: None if the backend did not say; the engine then estimates it.
        cost_nano_usd: None if the backend did not say; the declared price then gives it.
        confidence: A confidence the backend itself reports (recorded answers do).
        simulated: Whether no model made this text.
    """

    __slots__ = (
        "confidence", "cost_nano_usd", "finish_reason", "model", "probabilities", "simulated", "text", "timing", "usage",
    )  # fmt: skip

    def __init__(
        self,
        text: str,
        *,
        finish_reason: str = "stop",
        usage: Usage | None = None,
        cost_nano_usd: int | None = None,
        confidence: float | None = None,
        probabilities: TokenProbabilities | None = None,
        timing: Timing = Timing(),
        model: str = "",
        simulated: bool = False,
    ) -> None:
        self.text = text
        self.finish_reason = finish_reason
        self.usage = usage
        self.cost_nano_usd = cost_nano_usd
        self.confidence = confidence
        self.probabilities = probabilities
        self.timing = timing
        self.model = model
        self.simulated = simulated


class View(NamedTuple):
    """
    Show one budget scope as a walk last saw it; a limit of None is no limit.
    """

    scope: str
    limit_nano_usd: int | None = None
    used_nano_usd: int = 0
    limit_output_tokens: int | None = None
    used_output_tokens: int = 0


class Attempt(NamedTuple):
    """
    Record one call made for a hop; *used* in a view counts what is spent and what is reserved.

    Args:
        status: `denied` means that the ledger did not grant it and nothing was sent.
        span_id: The span under which a backend saw the call (16 hex digits).
    """

    started_at: int
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


# ---- entries: what happened -----------------------------------------------------------------------------------------


class Facts(NamedTuple):
    """
    Keep of a request what decisions may depend on.

    Args:
        attributes: Every attribute with its value, defaults filled in, in declared order.
        input_bytes: The messages' UTF-8 bytes, for the bound on input tokens.
    """

    attributes: tuple[tuple[str, Value], ...]
    input_bytes: int
    messages: int
    sampling: Sampling = Sampling()
    scopes: Scopes = Scopes()


class Began(NamedTuple):
    """
    Start a walk under its effective limits.
    """

    at: int
    facts: Facts
    limits: Limits
    views: tuple[View, ...]


class Granted(NamedTuple):
    """
    Allow a reservation.
    """

    hop: int
    at: int
    views: tuple[View, ...]


class Denied(NamedTuple):
    """
    Refuse a reservation in *scope*.
    """

    hop: int
    at: int
    scope: str
    message: str
    views: tuple[View, ...]


class Replied(NamedTuple):
    """
    Close a hop that worked.
    """

    hop: int
    at: int
    outputs: Mapping[str, Value]
    attempts: tuple[Attempt, ...] = ()


class Failed(NamedTuple):
    """
    Close a hop that did not.
    """

    hop: int
    at: int
    error_class: ErrorClass
    message: str
    attempts: tuple[Attempt, ...] = ()


class TimedOut(NamedTuple):
    """
    Close a hop whose time was up.
    """

    hop: int
    at: int
    message: str
    attempts: tuple[Attempt, ...] = ()


class Cancelled(NamedTuple):
    """
    Close a hop because nobody waits for the walk any more.
    """

    hop: int
    at: int
    attempts: tuple[Attempt, ...] = ()


Entry = Began | Granted | Denied | Replied | Failed | TimedOut | Cancelled


# ---- wishes: what the walk wants ------------------------------------------------------------------------------------


class Reserve(NamedTuple):
    """
    Ask for a call's worst case before it is made; a cost of None cannot be bounded.
    """

    hop: int
    node: str
    cost_nano_usd: int | None
    input_tokens: int
    output_tokens: int


class Call(NamedTuple):
    """
    Ask for a hop's work, done by *deadline_at*.
    """

    hop: int
    node: str
    deadline_at: int


class Settle(NamedTuple):
    """
    Ask that what a hop's calls really cost replaces what was reserved for them.
    """

    hop: int


class Outcome(Enum):
    """
    Tell how a walk ended.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Finish(NamedTuple):
    """
    End the walk.

    Args:
        answer_hop: Whose reply is served; None unless answered.
        cause: Why it failed: an error class, `hops`, `visits` or `no_answer`; empty if it did not.
        message: One sentence for people: the refusal's reason, or what went wrong and the remedy.
    """

    outcome: Outcome
    answer_hop: int | None = None
    cause: str = ""
    message: str = ""
    node: str = ""
    scope: str = ""


Wish = Reserve | Call | Settle | Finish


class Decision(NamedTuple):
    """
    Record the way a hop was left: the edge taken, and a verdict for every edge of the section.

    Args:
        edge: Its index in *section* of the node; -1 if no edge took the walk.
        verdicts: One character an edge: `y` held, `n` did not, `u` undetermined, `s` spent (visits used up),
            `c` another class, `-` not looked at.
    """

    hop: int
    section: Section
    edge: int
    verdicts: str


# ---- the record -----------------------------------------------------------------------------------------------------


class Content(NamedTuple):
    """
    Keep a walk's words, where the graph says so.
    """

    messages: tuple[Message, ...]
    answer: str = ""


class Traversal:
    """
    Hold the finished record of a walk.

    Args:
        began_unix_us: The wall clock when the walk began, in microseconds.
        parent_span_id: The caller's span, empty if the walk starts its trace.
        path: The node of each hop, by hop id.
        steps: Each entry with the wishes it was answered with.
        decisions: In the order they were made.
        content: None unless the graph records content.
    """

    __slots__ = (
        "began_unix_us", "content", "decisions", "graph", "parent_span_id", "path", "plan_digest", "sampled",
        "shape_digest", "span_id", "steps", "trace_id", "traversal_id", "version",
    )  # fmt: skip

    def __init__(
        self,
        *,
        traversal_id: str,
        trace_id: str,
        span_id: str,
        parent_span_id: str,
        sampled: bool,
        graph: str,
        version: str,
        plan_digest: str,
        shape_digest: str,
        began_unix_us: int,
        path: list[str],
        steps: list[tuple[Entry, tuple[Wish, ...]]],
        decisions: list[Decision],
        content: Content | None = None,
    ) -> None:
        self.traversal_id = traversal_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        self.graph = graph
        self.version = version
        self.plan_digest = plan_digest
        self.shape_digest = shape_digest
        self.began_unix_us = began_unix_us
        self.path = path
        self.steps = steps
        self.decisions = decisions
        self.content = content

    @property
    def began(self) -> Began:
        """
        Return the entry that started the walk.
        """
        entry = self.steps[0][0]
        assert isinstance(entry, Began)

        return entry

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        wish = self.steps[-1][1][-1]
        assert isinstance(wish, Finish)

        return wish

    @property
    def outcome(self) -> Outcome:
        """
        Tell how the walk ended.
        """
        return self.finish.outcome

    @property
    def answer_node(self) -> str:
        """
        Name the node whose reply was served, or nothing.
        """
        hop = self.finish.answer_hop

        return "" if hop is None else self.path[hop]

    @property
    def latency_us(self) -> int:
        """
        Return how long the walk took.
        """
        return self.steps[-1][0].at

    @property
    def engine_us(self) -> int:
        """
        Return how much of the latency was not spent in calls.
        """
        return self.latency_us - sum(attempt.latency_us for attempt in self.attempts())

    @property
    def cost_nano_usd(self) -> int:
        """
        Return what all calls of the walk cost.
        """
        return sum(attempt.cost_nano_usd for attempt in self.attempts())

    @property
    def cost_usd(self) -> float:
        """
        Return what all calls of the walk cost, in dollars.
        """
        return self.cost_nano_usd / 1e9

    @property
    def basis(self) -> Basis:
        """
        Return the weakest basis any part of the cost has.
        """
        return weakest(attempt.basis for attempt in self.attempts())

    @property
    def usage(self) -> Usage:
        """
        Count the tokens of all calls.
        """
        return total_usage(self.attempts())

    def attempts(self) -> Iterator[Attempt]:
        """
        Go through the calls made, in order.
        """
        for entry, _ in self.steps:
            if isinstance(entry, Replied | Failed | TimedOut | Cancelled):
                yield from entry.attempts

    def __repr__(self) -> str:
        return f"<Traversal {self.traversal_id} {self.graph}: {' > '.join(self.path)}, {self.outcome.value}>"


_BASES: tuple[Basis, ...] = ("none", "reported", "estimated", "assumed")


def weakest(bases: Iterator[Basis]) -> Basis:
    """
    Return the least certain of *bases*: assumed, then estimated, then reported.
    """
    return _BASES[max((_BASES.index(basis) for basis in bases), default=0)]


def total_usage(attempts: Iterator[Attempt]) -> Usage:
    """
    Add up the tokens of *attempts*.
    """
    incoming = outgoing = 0
    for attempt in attempts:
        incoming += attempt.usage.input_tokens
        outgoing += attempt.usage.output_tokens

    return Usage(incoming, outgoing)


# ---- the codec ------------------------------------------------------------------------------------------------------

FORMAT = 1


def encode(traversal: Traversal) -> bytes:
    """
    Turn *traversal* into JSON text that `decode` takes back whole.
    """
    document = {
        "format": FORMAT,
        **{name: getattr(traversal, name) for name in _PLAIN},
        "steps": [
            [[_TAGS[type(entry)], entry], [[_TAGS[type(wish)], wish] for wish in wishes]] for entry, wishes in traversal.steps
        ],
        "decisions": traversal.decisions,
        "content": traversal.content,
    }

    return orjson.dumps(document, default=_plain)


def decode(text: bytes) -> Traversal:
    """
    Read a traversal back from what `encode` made.

    Raises:
        TraceError: If *text* is not such a record.
    """
    try:
        document: dict[str, Any] = orjson.loads(text)
        if document["format"] != FORMAT:
            raise TraceError(f"this record has format {document['format']!r}, and this meshwalk reads format {FORMAT}")
        steps = [
            (_ENTRIES[entry[0]](entry[1]), tuple(_WISHES[tag](fields) for tag, fields in wishes))
            for entry, wishes in document["steps"]
        ]
        content = document["content"]
        return Traversal(
            **{name: document[name] for name in _PLAIN},
            steps=steps,
            decisions=[Decision(*fields) for fields in document["decisions"]],
            content=None if content is None else Content(tuple(Message(*fields) for fields in content[0]), content[1]),
        )
    except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise TraceError(f"this is not a record of a traversal ({type(error).__name__}: {error})") from error


_PLAIN = tuple(name for name in Traversal.__slots__ if name not in {"steps", "decisions", "content"})


def _plain(value: Any) -> Any:
    # orjson leaves subclasses of tuple to us; every NamedTuple here travels as a list of its fields.
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(f"a record holds no {type(value).__name__}")


def _sampling(fields: list[Any]) -> Sampling:
    return Sampling._make([*fields[:4], None if fields[4] is None else tuple(fields[4])])


def _facts(fields: list[Any]) -> Facts:
    attributes, input_bytes, messages, sampling, scopes = fields

    return Facts(
        tuple((name, value) for name, value in attributes), input_bytes, messages, _sampling(sampling), Scopes(*scopes)
    )


def _views(fields: list[Any]) -> tuple[View, ...]:
    return tuple(View(*view) for view in fields)


def _attempts(fields: list[Any]) -> tuple[Attempt, ...]:
    return tuple(
        Attempt._make([*attempt[:3], Timing(*attempt[3]), *attempt[4:6], Usage(*attempt[6]), *attempt[7:]])
        for attempt in fields
    )


_ENTRIES: Mapping[str, Callable[[list[Any]], Entry]] = {
    "began": lambda f: Began(f[0], _facts(f[1]), Limits(*f[2]), _views(f[3])),
    "granted": lambda f: Granted(f[0], f[1], _views(f[2])),
    "denied": lambda f: Denied._make([*f[:4], _views(f[4])]),
    "replied": lambda f: Replied._make([*f[:3], _attempts(f[3])]),
    "failed": lambda f: Failed._make([*f[:4], _attempts(f[4])]),
    "timed_out": lambda f: TimedOut._make([*f[:3], _attempts(f[3])]),
    "cancelled": lambda f: Cancelled._make([*f[:2], _attempts(f[2])]),
}

_WISHES: Mapping[str, Callable[[list[Any]], Wish]] = {
    "reserve": lambda f: Reserve(*f),
    "call": lambda f: Call(*f),
    "settle": lambda f: Settle(*f),
    "finish": lambda f: Finish(Outcome(f[0]), *f[1:]),
}

_TAGS: Mapping[type, str] = {
    Began: "began",
    Granted: "granted",
    Denied: "denied",
    Replied: "replied",
    Failed: "failed",
    TimedOut: "timed_out",
    Cancelled: "cancelled",
    Reserve: "reserve",
    Call: "call",
    Settle: "settle",
    Finish: "finish",
}
