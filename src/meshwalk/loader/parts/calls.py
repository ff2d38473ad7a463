"""
The shape of calls to a server that differs from the protocol, or adds to it: checked, and read into the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from meshwalk.loader.messages import call_faults
from meshwalk.loader.messages.faults import secret_in_graph
from meshwalk.loader.parts.fit import Part
from meshwalk.loader.schema.backends import OpenAIShape
from meshwalk.loader.yaml.document import Table
from meshwalk.model import ThoughtTags
from meshwalk.model.problems import Problem, Span


# These decide how an answer is read, or say what a node asks in keys of its own.
_OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "n", "tools", "tool_choice", "response_format"})
# Without these there is no call.
_NEEDED_FIELDS = frozenset({"model", "messages", "stream"})
_OWN_HEADERS = frozenset(
    ["content-type", "content-length", "accept", "accept-encoding", "host", "connection", "transfer-encoding", "traceparent"]
)
_SECRET_HEADERS = frozenset(["authorization", "proxy-authorization", "api-key", "x-api-key", "cookie", "x-auth-token"])
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def faults_of_calls(shape: OpenAIShape, part: Part) -> Iterator[Problem]:
    """
    Yield the faults of the calling settings in *shape*.
    """
    for field in shape.extra or {}:
        if field in _OWN_FIELDS:
            yield call_faults.own_field(_place(part, "extra", field), part.subject, field)
    for field in shape.leave_out or ():
        if field in _NEEDED_FIELDS:
            yield call_faults.needed_field(part.table.place("leave_out"), part.subject, field)
    yield from _headers(shape, part)
    if shape.takes is not None and "text" not in shape.takes:
        yield call_faults.takes_no_text(part.table.place("takes"), part.subject)
    if shape.image_tokens is None and "image" in (shape.takes or ()):
        yield call_faults.unbounded_images(part.table.place("takes"), part.subject)


def _headers(shape: OpenAIShape, part: Part) -> Iterator[Problem]:
    for name, value in (shape.headers or {}).items():
        span = _place(part, "headers", name)
        rest = _VARIABLE.sub("", value)
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value) or "${" in rest:
            yield call_faults.bad_header(span, part.subject, name)
        elif name.lower() in _OWN_HEADERS:
            yield call_faults.own_header(span, part.subject, name)
        elif name.lower() in _SECRET_HEADERS and not _VARIABLE.search(value):
            yield secret_in_graph(span, part.subject, f"a secret under '{name}'", f"name its variable: {name}: ${{NAME}}")
    if shape.key_header is None:
        return
    span = part.table.place("key_header")
    if not _HEADER.fullmatch(shape.key_header):
        yield call_faults.bad_header(span, part.subject, shape.key_header)
    elif shape.key_header.lower() in _OWN_HEADERS:
        yield call_faults.own_header(span, part.subject, shape.key_header)


def _place(part: Part, key: str, name: str) -> Span:
    inner = part.table.entries.get(key)

    return inner.place(name) if isinstance(inner, Table) and name in inner.entries else part.table.place(key)


def shape_of_calls(shape: OpenAIShape) -> dict[str, Any]:
    """
    Return the fields of the model that say how a server is called.
    """
    tags = shape.thoughts

    return {
        "max_tokens_name": shape.max_tokens_name,
        "leave_out": tuple(sorted(set(shape.leave_out or ()))),
        "extra": orjson.dumps(shape.extra, option=orjson.OPT_SORT_KEYS).decode() if shape.extra else "",
        "headers": tuple(sorted((shape.headers or {}).items())),
        "key_header": shape.key_header,
        "roles": tuple(sorted((shape.roles or {}).items())),
        "stream_options": shape.stream_options,
        "thoughts": None if tags is None else ThoughtTags(tags.open or "", tags.close),
        "takes": tuple(sorted(set(shape.takes or ()) - {"text"})),
        "image_tokens": shape.image_tokens,
        "settles_reported": shape.cost == "reported",
    }
