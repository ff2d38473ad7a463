"""
The body of a call: a chat request as the JSON of the OpenAI protocol.

Nothing is sent that nobody asked for, since servers differ in what they take.  Schemas travel as the text the caller
wrote; `admission` has seen that it is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from meshwalk.backends.base import ChatRequest
from meshwalk.backends.openai import spellings
from meshwalk.backends.openai.shape import PLAIN_SHAPE, CallShape
from meshwalk.backends.openai.tool_calls import as_object
from meshwalk.trace import Image, Message, ReplyOptions, ResponseFormat, Tool


# The choices that are no tool's name.
_CHOICES = frozenset({"auto", "none", "required"})

# A provider wants a name for a schema; one that has none gets this.
_SCHEMA_NAME = "reply"
_NO_PARAMETERS = b'{"type":"object","properties":{}}'


def body_of(backend: str, model: str, request: ChatRequest, shape: CallShape = PLAIN_SHAPE, *, streamed: bool) -> bytes:
    """
    Write *request* to *model* as the server of *backend* takes it.
    """
    body: dict[str, Any] = {"model": model, "messages": [_message(said, backend, shape) for said in request.messages]}
    body.update(
        (key, value) for key, value in zip(request.sampling._fields, request.sampling, strict=True) if value is not None
    )
    if request.samples > 1:
        body["n"] = request.samples
    if request.probabilities:
        body.update(logprobs=True, top_logprobs=2)
    if request.form != _PLAIN:
        body.update(_form(request.form))
    if streamed:
        body["stream"] = True
        if shape.stream_options:
            body["stream_options"] = {"include_usage": True}
    if shape is PLAIN_SHAPE:
        return orjson.dumps(body)
    if shape.max_tokens_name != _LIMIT and _LIMIT in body:
        body[shape.max_tokens_name] = body.pop(_LIMIT)
    for field in shape.leave_out:
        body.pop(field, None)

    return orjson.dumps(_merged(body, shape.extra))


_PLAIN = ReplyOptions()
_LIMIT = "max_tokens"


def _merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """
    Lay *extra* over *body*, mapping by mapping; null takes a field away.
    """
    found = dict(body)
    for key, value in extra.items():
        before = found.get(key)
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, Mapping) else value

    return found


def _message(said: Message, backend: str, shape: CallShape) -> dict[str, Any]:
    message: dict[str, Any] = {"role": shape.roles.get(said.role, said.role), "content": said.content}
    if said.name:
        message["name"] = said.name
    if said.tool_call_id:
        message["tool_call_id"] = said.tool_call_id
    if said.tool_calls:
        message["content"] = said.content or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": as_object(call.arguments)}}
            | _carried(call.carried, backend)
            for call in said.tool_calls
        ]
    if said.parts:
        message["content"] = [_part(part) for part in said.parts]
    if said.carried:
        message |= {field: value for field, value in _carried(said.carried, backend).items() if field not in shape.leave_out}

    return message


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}

    return {"type": "image_url", "image_url": {"url": part.url} | ({"detail": part.detail} if part.detail else {})}


def _carried(text: str, backend: str) -> dict[str, Any]:
    """
    Return the parts of an earlier answer that *backend* needs back.
    """
    if not text:
        return {}
    try:
        fields = orjson.loads(text).get(backend)
    except (orjson.JSONDecodeError, AttributeError):
        return {}
    if not isinstance(fields, dict):
        return {}

    return {field: value for field, value in fields.items() if field in _CARRIED}


_CARRIED = frozenset(spellings.CARRIED_BY_CALLS + spellings.CARRIED_BY_MESSAGES)


def _form(form: ReplyOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if form.tools:
        found["tools"] = [{"type": "function", "function": _function(tool)} for tool in form.tools]
    if form.tool_choice in _CHOICES:
        found["tool_choice"] = form.tool_choice
    elif form.tool_choice:
        found["tool_choice"] = {"type": "function", "function": {"name": form.tool_choice}}
    if form.response_format is not None:
        found["response_format"] = _format(form.response_format)

    return found


def _function(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = orjson.Fragment(tool.parameters.encode() if tool.parameters else _NO_PARAMETERS)

    return function


def _format(asked: ResponseFormat) -> dict[str, Any]:
    if asked.kind == "json_object":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": asked.name or _SCHEMA_NAME, "schema": orjson.Fragment(asked.schema.encode())}
    if asked.strict:
        schema["strict"] = True

    return {"type": "json_schema", "json_schema": schema}
