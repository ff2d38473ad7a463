"""
The words of somebody outside, put into a record or a part of one for a reader who may have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from meshwalk.model.private_text import PrivateText, disclosed
from meshwalk.trace.full_trace import FullTrace
from meshwalk.trace.record import Traversal


_Read = Callable[[PrivateText], str]
_Part = TypeVar("_Part", bound=tuple[Any, ...])


def disclosed_part(part: _Part, read: _Read = disclosed) -> _Part:
    """
    Return *part*, an entry or another tuple of a record, with what *read* makes of each private text in it.
    """
    fields = [_disclosed(field, read) for field in part]
    if all(field is before for field, before in zip(fields, part, strict=True)):
        return part
    make = getattr(part, "_make", type(part))
    made: _Part = make(fields)

    return made


def _disclosed(field: Any, read: _Read) -> Any:
    if isinstance(field, PrivateText):
        return read(field)

    return disclosed_part(field, read) if isinstance(field, tuple) else field


def disclosed_record(traversal: Traversal, read: _Read = disclosed) -> Traversal:
    """
    Return *traversal* with what *read* makes of each private text in it.
    """
    trace = traversal.trace
    if not isinstance(trace, FullTrace):
        # A walk in which no call failed has none.
        return traversal

    return Traversal(
        traversal.source,
        traversal.traversal_id,
        traversal.trace_id,
        traversal.span_id,
        traversal.parent_span_id,
        traversal.sampled,
        traversal.began_unix_us,
        trace._replace(steps=[disclosed_part(step, read) for step in trace.steps]),
        traversal.content,
    )
