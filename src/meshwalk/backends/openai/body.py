"""
What is sent: a chat request as the JSON of the OpenAI protocol.

Nothing is sent that nobody asked for, since servers differ in what they take.  Schemas travel as the text the caller
wrote; `admission` has seen that it is JSON.
"""

from __future__ import annotations

from typing import Any

import orjson

from meshwalk.backends.base import ChatRequest
from meshwalk.trace import Form, Message, ResponseFormat, Tool


# The choices that are no tool's name.
_CHOICES = frozenset({"auto", "none", "required"})

# A provider wants a name for a schema; one that has none gets this.
_SCHEMA_NAME = "reply"
_NO_PARAMETERS = b'{"type":"object","properties":{}}'


def body_of(model: str, request: ChatRequest, *, streamed: bool) -> bytes:
    """
    Write *request* to *model*.
    """
    body: dict[str, Any] = {"model": model, "messages": [_message(said) for said in request.messages]}
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
        body.update(stream=True, stream_options={"include_usage": True})

    return orjson.dumps(body)


_PLAIN = Form()


def _message(said: Message) -> dict[str, Any]:
    message: dict[str, Any] = {"role": said.role, "content": said.content}
    if said.name:
        message["name"] = said.name
    if said.tool_call_id:
        message["tool_call_id"] = said.tool_call_id
    if said.tool_calls:
        message["content"] = said.content or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in said.tool_calls
        ]

    return message


def _form(form: Form) -> dict[str, Any]:
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
