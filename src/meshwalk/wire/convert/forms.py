"""
The tools and the format that a request comes with, to the wire and from it.
"""

from __future__ import annotations

from typing import Literal

from meshwalk.model.problems import MeshwalkError, RequestError, Violation
from meshwalk.trace import Form, ResponseFormat, Tool
from meshwalk.wire.convert.values import Words
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common


FORMATS: Words[Literal["json_object", "json_schema"], common.ResponseFormatKind.ValueType] = Words(
    "ResponseFormatKind",
    {
        "json_object": common.RESPONSE_FORMAT_KIND_JSON_OBJECT,
        "json_schema": common.RESPONSE_FORMAT_KIND_JSON_SCHEMA,
    },
)


def pack_form(form: Form) -> common.Form:
    """
    Make a message of *form*.
    """
    message = common.Form(tools=[common.Tool(**tool._asdict()) for tool in form.tools], tool_choice=form.tool_choice)
    asked = form.response_format
    if asked is not None:
        kind = FORMATS.number[asked.kind]
        message.response_format.CopyFrom(
            common.ResponseFormat(kind=kind, name=asked.name, schema=asked.schema, strict=asked.strict)
        )

    return message


def unpack_form(message: common.Form) -> Form:
    """
    Read a form.

    Raises:
        RequestError: If the format is of a kind that this meshwalk does not know.
    """
    tools = tuple([Tool(tool.name, tool.description, tool.parameters) for tool in message.tools])

    return Form(tools, message.tool_choice, _unpack_format(message.response_format))


def _unpack_format(message: common.ResponseFormat) -> ResponseFormat | None:
    # Plain text is what there is without a format.
    if not message.kind:
        return None
    try:
        kind = FORMATS.word(message.kind)
    except MeshwalkError:
        why = f"is {message.kind}, and this server knows JSON_OBJECT and JSON_SCHEMA"
        raise RequestError([Violation("form.response_format.kind", why)]) from None

    return ResponseFormat(kind, message.name, message.schema, message.strict)
