"""
The tools and the format that a request comes with, to the wire and from it.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.model.problems import MeshwalkError, RequestError, Violation
from meshwalk.trace import ReplyOptions, ResponseFormat, Tool
from meshwalk.wire.convert.enums import FORMATS
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing


_PLAIN = ReplyOptions()


def pack_tools(tools: Iterable[Tool]) -> list[common.Tool]:
    """
    Make messages of *tools*.
    """
    return [common.Tool(**tool._asdict()) for tool in tools]


def pack_format(response_format: ResponseFormat | None) -> common.ResponseFormat | None:
    """
    Make a message of *response_format*; None for plain text.
    """
    if response_format is None:
        return None
    kind, name, schema, strict = response_format

    return common.ResponseFormat(kind=FORMATS.number[kind], name=name, schema=schema, strict=strict)


def unpack_form(message: routing.RouteRequest) -> ReplyOptions:
    """
    Read the tools and the format of a request.

    Raises:
        RequestError: If the format is of a kind that this meshwalk does not know.
    """
    tools = message.tools
    if not (tools or message.tool_choice or message.HasField("response_format")):
        return _PLAIN

    return ReplyOptions(
        tuple([Tool(tool.name, tool.description, tool.parameters) for tool in tools]),
        message.tool_choice,
        _unpack_format(message.response_format),
    )


def _unpack_format(message: common.ResponseFormat) -> ResponseFormat | None:
    # Without a format, replies are plain text.
    if not message.kind:
        return None
    try:
        kind = FORMATS.word(message.kind)
    except MeshwalkError:
        why = f"is {message.kind}, and this server knows JSON_OBJECT and JSON_SCHEMA"
        raise RequestError([Violation("response_format.kind", why)]) from None

    return ResponseFormat(kind, message.name, message.schema, message.strict)
