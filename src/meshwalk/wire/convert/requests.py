"""
Requests, to the wire and from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.problems import RequestError, Violation
from meshwalk.trace import Request, Scopes
from meshwalk.wire.convert.enums import DETAILS
from meshwalk.wire.convert.forms import pack_format, pack_tools, unpack_form
from meshwalk.wire.convert.values import (
    pack_limits,
    pack_messages,
    pack_sampling,
    pack_scopes,
    pack_values,
    unpack_limits,
    unpack_messages,
    unpack_sampling,
    unpack_scopes,
    unpack_values,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.types import Detail


_UNLIMITED = Limits()
_UNSAMPLED = Sampling()
_UNSCOPED = Scopes()


def pack_request(request: Request, graph: str = "", detail: Detail = "NONE") -> routing.RouteRequest:
    """
    Make a message of *request*; its traceparent travels as metadata.

    Raises:
        RequestError: If values do not fit the wire; each is named.
    """
    try:
        return routing.RouteRequest(
            graph=graph,
            idempotency_key=request.idempotency_key,
            messages=pack_messages(request.messages),
            sampling=None if request.sampling == _UNSAMPLED else pack_sampling(request.sampling),
            attributes=pack_values(request.attributes),
            scopes=None if request.scopes == _UNSCOPED else pack_scopes(request.scopes),
            limits=None if request.limits == _UNLIMITED else pack_limits(request.limits),
            detail=DETAILS.number[detail],
            tools=pack_tools(request.form.tools),
            tool_choice=request.form.tool_choice,
            response_format=pack_format(request.form.response_format),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RequestError(_misfits(request, graph, detail)) from error


def _misfits(request: Request, graph: str, detail: Detail) -> Iterator[Violation]:
    """
    Name what keeps *request* from the wire, by packing it piece by piece.
    """
    if detail not in DETAILS.number:
        yield Violation("detail", f"is {detail!r}, and it is one of: {', '.join(DETAILS.number)}")
    for field, pack in _pieces(request, graph):
        try:
            pack()
        except UnicodeError:
            yield Violation(field, "holds characters that are not Unicode text (lone surrogates)")
        except (OverflowError, ValueError):
            yield Violation(field, "is a number too large for the wire")
        except (AttributeError, TypeError):
            yield Violation(field, "is of a type that the wire does not carry")


def _pieces(request: Request, graph: str) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "graph", partial(routing.RouteRequest, graph=graph)
    yield "idempotency_key", partial(routing.RouteRequest, idempotency_key=request.idempotency_key)
    for position, message in enumerate(request.messages):
        yield f"messages[{position}]", partial(pack_messages, [message])
    for name, value in request.attributes.items():
        yield f"attributes.{name}", partial(_pack_attribute, name, value)
    for name, value in request.sampling._asdict().items():
        yield f"sampling.{name}", partial(pack_sampling, _UNSAMPLED._replace(**{name: value}))
    for name in ("session", "workflow"):
        yield f"scopes.{name}", partial(pack_scopes, _UNSCOPED._replace(**{name: getattr(request.scopes, name)}))
    for name, value in request.limits._asdict().items():
        yield f"limits.{name}", partial(pack_limits, _UNLIMITED._replace(**{name: value}))
    for position, tool in enumerate(request.form.tools):
        yield f"tools[{position}]", partial(pack_tools, [tool])
    yield "tool_choice", partial(routing.RouteRequest, tool_choice=request.form.tool_choice)
    yield "response_format", partial(pack_format, request.form.response_format)


def _pack_attribute(name: str, value: Value) -> routing.RouteRequest:
    return routing.RouteRequest(attributes=pack_values({name: value}))


def unpack_request(message: routing.RouteRequest, deadline_us: int | None = None, traceparent: str = "") -> Request:
    """
    Read a request.

    Args:
        deadline_us: The time that the call itself has left; it tightens what the request says.

    Raises:
        RequestError: If an attribute has no value, or the response format is unknown.
    """
    limits = unpack_limits(message.limits) if message.HasField("limits") else _UNLIMITED
    if deadline_us is not None and (limits.deadline_us is None or deadline_us < limits.deadline_us):
        limits = Limits(deadline_us=deadline_us) if limits is _UNLIMITED else limits._replace(deadline_us=deadline_us)
    attributes = message.attributes

    return Request(
        unpack_messages(message.messages),
        attributes=_unpack_attributes(attributes) if attributes else None,
        sampling=unpack_sampling(message.sampling) if message.HasField("sampling") else _UNSAMPLED,
        scopes=unpack_scopes(message.scopes) if message.HasField("scopes") else _UNSCOPED,
        limits=limits,
        traceparent=traceparent,
        idempotency_key=message.idempotency_key,
        form=unpack_form(message),
    )


def _unpack_attributes(messages: Mapping[str, common.Value]) -> dict[str, Value]:
    values = unpack_values(messages)
    if len(values) < len(messages):
        # A comparison of keys would build a set of all of them.
        empty = [name for name in sorted(messages) if name not in values]
        raise RequestError(
            Violation(f"attributes.{name}", "has no value; set string_value, double_value or bool_value") for name in empty
        )

    return values
