"""
Messages, tools and response formats, read from JSON files of the shape that OpenAI's API has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson

from meshwalk.cli.output import Misuse
from meshwalk.model.files import read_plain
from meshwalk.model.problems import RequestError
from meshwalk.model.spelling import did_you_mean
from meshwalk.trace import Message, ResponseFormat, Tool, ToolCall
from meshwalk.trace.requests import with_parts


_Item = TypeVar("_Item")

_MESSAGE = {
    "role": str,
    "content": (str, list, type(None)),
    "name": str,
    "tool_calls": list,
    "tool_call_id": str,
    "carried": str,
}
_CALL = {"id": str, "name": str, "arguments": str, "carried": str}
_TOOL = {"name": str, "description": str, "parameters": dict, "strict": bool}
_FORMAT = {"name": str, "schema": dict, "strict": bool, "description": str}

_TYPES = {str: "a text", list: "a list", dict: "an object", bool: "true or false"}
# Far more than any provider takes in one request.
_MAX_BYTES = 64 * 1024 * 1024

# Providers take no other characters in the name of a schema.
_UNNAMED = re.compile(r"[^A-Za-z0-9_-]")


def read_messages(path: str) -> tuple[Message, ...]:
    """
    Read a conversation from the JSON file at *path*, or from stdin for `-`.

    Raises:
        Misuse: If it cannot be read, or holds no list of messages.
    """
    return tuple(_listed("--messages", path, _message))


def read_tools(path: str) -> tuple[Tool, ...]:
    """
    Read the functions that a model may call.

    Raises:
        Misuse: If the file cannot be read, or holds no list of tools.
    """
    return tuple(_listed("--tools", path, _tool))


def read_response_format(text: str) -> ResponseFormat:
    """
    Read a response format: `json`, or a file with a JSON Schema or with a `response_format`.

    Raises:
        Misuse: If the file cannot be read, or holds neither.
    """
    if text == "json":
        return ResponseFormat("json_object")
    place = f"--response-format {text}"
    value = _object(_parsed("--response-format", text), place)
    if value == {"type": "json_object"}:
        return ResponseFormat("json_object")
    if value.get("type") != "json_schema":
        return ResponseFormat("json_schema", _UNNAMED.sub("_", Path(text).stem)[:64], orjson.dumps(value).decode())
    place = f"{place}: json_schema"
    schema = _checked(_object(value.get("json_schema"), place), place, _FORMAT, needed=("name", "schema"))

    return ResponseFormat(
        "json_schema", schema["name"], orjson.dumps(schema["schema"]).decode(), strict=schema.get("strict", False)
    )


def _message(value: Any, place: str) -> Message:
    message = _checked(value, place, _MESSAGE, needed=("role",))
    calls = message.get("tool_calls", [])
    if message.get("content") is None and not calls:
        raise Misuse(f"{place} has neither 'content' nor 'tool_calls'")

    content = message.get("content")
    content = "" if content is None else content
    parts: Message | None = None
    if isinstance(content, list):
        try:
            parts = with_parts(Message(message["role"], content), f"{place}.content")  # type: ignore[arg-type]
        except RequestError as error:
            raise Misuse(str(error)) from error

    return Message(
        message["role"],
        content if parts is None else parts.content,
        parts=() if parts is None else parts.parts,
        name=message.get("name", ""),
        tool_calls=tuple(_call(call, f"{place}.tool_calls[{number}]") for number, call in enumerate(calls)),
        tool_call_id=message.get("tool_call_id", ""),
        carried=message.get("carried", ""),
    )


def _call(value: Any, place: str) -> ToolCall:
    return ToolCall(**_checked(_flat(value, place), place, _CALL, needed=("id", "name", "arguments")))


def _tool(value: Any, place: str) -> Tool:
    tool = _checked(_flat(value, place), place, _TOOL, needed=("name",))
    parameters = tool.get("parameters")

    return Tool(tool["name"], tool.get("description", ""), "" if parameters is None else orjson.dumps(parameters).decode())


def _flat(value: Any, place: str) -> dict[str, Any]:
    # `{type: function, function: {name: …}}` is what OpenAI writes; the inner object alone says as much.
    outer = dict(_object(value, place))
    if outer.get("type", "function") != "function":
        raise Misuse(f"{place}.type is {outer['type']!r}; only 'function' is known")
    outer.pop("type", None)
    inner = outer.pop("function", None)

    return outer if inner is None else outer | _object(inner, f"{place}.function")


def _listed(option: str, path: str, read: Callable[[Any, str], _Item]) -> list[_Item]:
    values = _parsed(option, path)
    if values == []:
        raise Misuse(f"{option} {path} holds an empty list; write one {{…}} at least in it")
    if not isinstance(values, list):
        raise Misuse(f"{option} {path} holds no list: write [{{…}}, {{…}}]")

    return [read(value, f"{option} {path}: [{number}]") for number, value in enumerate(values)]


def _parsed(option: str, path: str) -> Any:
    if path[:1] in {"[", "{"}:
        raise Misuse(
            f"{option} takes the path of a JSON file, and not JSON itself; `-` reads stdin where the option is --messages"
        )
    try:
        text = sys.stdin.read() if path == "-" else read_plain(path, _MAX_BYTES)
        return orjson.loads(text)
    except (OSError, ValueError) as error:
        if isinstance(error, orjson.JSONDecodeError):
            raise Misuse(f"{option} {path} is no JSON: {error}") from error
        why = error.strerror if isinstance(error, OSError) else None
        raise Misuse(f"{option} {path} cannot be read: {why or error}") from error


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misuse(f"{place} is no object: write {{…}}")

    return value


def _checked(value: Any, place: str, known: Mapping[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    fields = _object(value, place)
    for name, content in fields.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"it has: {', '.join(known)}"
            raise Misuse(f"{place} has a field '{name}' that is not known; {hint}")
        if not isinstance(content, known[name]):
            wanted = known[name][0] if isinstance(known[name], tuple) else known[name]
            raise Misuse(f"{place}.{name} is not {_TYPES[wanted]}")
    if lacking := [name for name in needed if name not in fields]:
        raise Misuse(f"{place} has no '{lacking[0]}'")

    return fields
