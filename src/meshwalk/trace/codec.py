"""
A record as JSON text and back, whole: `decode(encode(traversal))` equals *traversal*.

Every NamedTuple travels as the list of its fields behind a tag.  `FORMAT` goes up when a field comes, goes or moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from meshwalk.model import Amount, Caps, Limits, Sampling
from meshwalk.model.problems import TraceError
from meshwalk.trace.compact import CompactCall, CompactHop
from meshwalk.trace.compact_trace import CompactTrace
from meshwalk.trace.entries import (
    Attempt,
    Began,
    Cancelled,
    Denied,
    Entry,
    Facts,
    Failed,
    Granted,
    PrefixJudged,
    Replied,
    ScopeView,
    Stopped,
    TimedOut,
)
from meshwalk.trace.exchange import Image, Message, Scopes, Timing, ToolCall, Usage
from meshwalk.trace.full_trace import FullTrace
from meshwalk.trace.record import Content, Source, Traversal
from meshwalk.trace.wishes import Call, Commit, Decision, Finish, Outcome, Reserve, Settle, StopCall, Wish


FORMAT = 5


def encode(traversal: Traversal) -> bytes:
    """
    Turn *traversal* into JSON text that `decode` takes back whole.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "source": [*traversal.source],
        "traversal_id": traversal.traversal_id,
        "trace_id": traversal.trace_id,
        "span_id": traversal.span_id,
        "parent_span_id": traversal.parent_span_id,
        "sampled": traversal.sampled,
        "began_unix_us": traversal.began_unix_us,
    }
    _FORMS[type(traversal.trace)](document, traversal.trace)
    document["content"] = traversal.content

    try:
        return orjson.dumps(document, default=_plain)
    except TypeError:
        # A user's backend may return characters that are no text; a record without those is better than none.
        return orjson.dumps(_as_text(document), default=_plain)


def decode(text: bytes) -> Traversal:
    """
    Read a traversal back from what `encode` made.

    Raises:
        TraceError: If *text* is not such a record.
    """
    try:
        document: dict[str, Any] = orjson.loads(text)
        if document["format"] != FORMAT:
            raise TraceError(
                f"this record has format {document['format']!r}, and this meshwalk reads format {FORMAT}; "
                "the version that wrote it can read it"
            )
        content = document["content"]
        return Traversal(
            Source(*document["source"]),
            **{name: document[name] for name in _PLAIN},
            trace=_compact(document["straight"]) if "straight" in document else _full(document),
            content=None if content is None else Content(tuple(map(_message, content[0])), content[1]),
        )
    except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise TraceError(f"this is not a record of a traversal ({type(error).__name__}: {error})") from error


_PLAIN = ("traversal_id", "trace_id", "span_id", "parent_span_id", "sampled", "began_unix_us")


def _add_compact(document: dict[str, Any], trace: CompactTrace) -> None:
    # The text that `_plain` would come to as well, call by call; most records are made here.
    (attributes, *size, sampling, scopes, counted, healthy, images), limits, hops, *ended, views = trace

    document["straight"] = [
        [attributes, *size, [*sampling], [*scopes], counted, healthy, *([images] if images else [])],
        [*limits],
        [[*hop[:_CALL], None if hop.call is None else _call_fields(hop.call)] for hop in hops],
        *ended,
        views,
    ]


def _add_full(document: dict[str, Any], trace: FullTrace) -> None:
    document["path"], steps, document["decisions"] = trace
    document["steps"] = [
        [[_TAGS[type(entry)], entry], [[_TAGS[type(wish)], wish] for wish in wishes]] for entry, wishes in steps
    ]


_FORMS: Mapping[type, Callable[..., None]] = {CompactTrace: _add_compact, FullTrace: _add_full}


def _call_fields(call: CompactCall) -> list[Any]:
    fields: list[Any] = [*call]
    usage = call.usage
    fields[_TIMING] = [*call.timing]
    fields[_USAGE] = usage if usage[-1] else usage[:-1]
    if not call.endpoint:
        # It is younger than the first records of this format.
        del fields[-1]

    return fields


# The places of fields that are tuples themselves.
_CALL = CompactHop._fields.index("call")
_TIMING, _USAGE = CompactCall._fields.index("timing"), CompactCall._fields.index("usage")


def _compact(fields: list[Any]) -> CompactTrace:
    facts, limits, hops, *ended, views = fields

    return CompactTrace._make([_facts(facts), Limits(*limits), tuple(map(_hop, hops)), *ended, _views(views)])


def _hop(fields: list[Any]) -> CompactHop:
    *plain, call = fields

    return CompactHop._make([*plain, None if call is None else _call(call)])


def _call(fields: list[Any]) -> CompactCall:
    call = CompactCall(*fields)

    return call._replace(
        timing=Timing(*call.timing),
        usage=Usage(*call.usage),
        shared_views=_views(call.shared_views),
    )


def _full(document: Mapping[str, Any]) -> FullTrace:
    return FullTrace(
        document["path"],
        [
            (_ENTRIES[entry[0]](entry[1]), tuple(_WISHES[tag](fields) for tag, fields in wishes))
            for entry, wishes in document["steps"]
        ],
        [Decision(*fields) for fields in document["decisions"]],
    )


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, _GROWN):
        value = _spoken(value)
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]

    return value


# Types whose last fields are younger than the first records of this format; those fields are left out while they are empty.
_GROWN = (Usage, Attempt, Message, ToolCall, Facts)


_FIRST_LATER = (
    (Usage, "cache_write_tokens"), (Attempt, "mended"), (Message, "carried"), (ToolCall, "carried"), (Facts, "images"),
)  # fmt: skip
_BEFORE: Mapping[type, int] = {kind: kind._fields.index(first) for kind, first in _FIRST_LATER}


def _spoken(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    Return the fields of *value* without the later ones at its end that say nothing.
    """
    size, least = len(value), _BEFORE[type(value)]
    while size > least and not value[size - 1]:
        size -= 1

    return value[:size]


def _plain(value: Any) -> Any:
    # orjson leaves subclasses of tuple to us; every NamedTuple here travels as a list of its fields.
    if isinstance(value, _GROWN):
        return list(_spoken(value))
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(f"a record holds no {type(value).__name__}")


def _message(fields: list[Any]) -> Message:
    message = Message(*[*fields[:3], tuple(ToolCall(*call) for call in fields[3]), *fields[4:]])
    if not message.parts:
        return message

    return message._replace(parts=tuple(part if isinstance(part, str) else Image(*part) for part in message.parts))


def _sampling(fields: list[Any]) -> Sampling:
    return Sampling._make([*fields[:4], None if fields[4] is None else tuple(fields[4])])


def _facts(fields: list[Any]) -> Facts:
    attributes, input_bytes, messages, sampling, scopes, counted, healthy, *images = fields

    return Facts(
        tuple((name, value) for name, value in attributes),
        input_bytes,
        messages,
        _sampling(sampling),
        Scopes(*scopes),
        tuple((node, tokens) for node, tokens in counted),
        tuple((backend, well) for backend, well in healthy),
        *images,
    )


def _views(fields: Iterable[Any]) -> tuple[ScopeView, ...]:
    return tuple(ScopeView(scope, Caps(*caps), Amount(*used), away) for scope, caps, used, away in fields)


def _attempts(fields: list[Any]) -> tuple[Attempt, ...]:
    return tuple(map(_attempt, fields))


def _attempt(fields: list[Any]) -> Attempt:
    # The last fields came later than the first records of this format.
    attempt = Attempt(*[*fields[:3], Timing(*fields[3]), *fields[4:6], Usage(*fields[6]), *fields[7:]])

    return attempt._replace(mended=tuple(attempt.mended))


_ENTRIES: Mapping[str, Callable[[list[Any]], Entry]] = {
    "began": lambda f: Began(f[0], _facts(f[1]), Limits(*f[2]), _views(f[3])),
    "granted": lambda f: Granted(f[0], f[1], _views(f[2]), f[3]),
    "denied": lambda f: Denied._make([*f[:4], _views(f[4]), *f[5:]]),
    "replied": lambda f: Replied._make([*f[:3], _attempts(f[3]), _views(f[4])]),
    "glimpsed": lambda f: PrefixJudged(*f),
    "stopped": lambda f: Stopped(f[0], f[1], _attempts(f[2]), _views(f[3])),
    "failed": lambda f: Failed._make([*f[:4], _attempts(f[4]), _views(f[5]), *f[6:]]),
    "timed_out": lambda f: TimedOut._make([*f[:3], _attempts(f[3]), _views(f[4])]),
    "cancelled": lambda f: Cancelled._make([*f[:2], _attempts(f[2]), *f[3:]]),
}

_WISHES: Mapping[str, Callable[[list[Any]], Wish]] = {
    "reserve": lambda f: Reserve(*f),
    "call": lambda f: Call(*f),
    "commit": lambda f: Commit(*f),
    "stop": lambda f: StopCall(*f),
    "settle": lambda f: Settle(*f),
    "finish": lambda f: Finish(Outcome(f[0]), *f[1:]),
}

_TAGS: Mapping[type, str] = {
    Began: "began",
    Granted: "granted",
    Denied: "denied",
    PrefixJudged: "glimpsed",
    Stopped: "stopped",
    Replied: "replied",
    Failed: "failed",
    TimedOut: "timed_out",
    Cancelled: "cancelled",
    Reserve: "reserve",
    Call: "call",
    Commit: "commit",
    StopCall: "stop",
    Settle: "settle",
    Finish: "finish",
}
