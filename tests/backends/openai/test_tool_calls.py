"""
Tool calls are told apart however a server numbers them, and each has an id and arguments.
"""

from __future__ import annotations

from typing import Any

import pytest

from meshwalk.backends.openai.tool_calls import ToolCalls, UnreadableReplyError, as_object, carried_text


def wish(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}

    return {"function": function, **more}


def gathered(*chunks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    calls = ToolCalls()
    for chunk in chunks:
        calls.add({"tool_calls": chunk})
    found = calls.calls("large")

    assert len({call.id for call in found}) == len(found)
    assert all(call.id for call in found)

    return [(call.name, call.arguments) for call in found]


@pytest.mark.parametrize(
    "chunks",
    [
        [[wish("f", '{"a":1}', index=0, id="x")], [wish("g", "{}", index=0, id="y")]],
        [[wish("f", '{"a":1}', index=0, id="x"), wish("g", "{}", index=0, id="y")]],
        [[wish("f", '{"a"', index=0, id="x")], [wish(None, ":1}", index=0)], [wish("g", "{}", index=0, id="y")]],
        [[wish("f", '{"a"', index=0, id="x")], [wish(None, ":1}", index=0, id="x")], [wish("g", "{}", index=1, id="y")]],
        [[wish("f", '{"a"', index=3, id="x")], [wish("g", "{}", index=7)], [wish("", ":1}", index=3, id="")]],
        [[wish("f", '{"a"')], [wish(None, ":1}")], [wish("g", "{}")]],
        [[wish("f", '{"a":1}', id="x")], [wish("g", "{}", id="x")]],
        [[wish("f", {"a": 1}), wish("g")]],
        [[wish("f", '{"a":1}', index=0), wish("g", " ", index=1)]],
    ],
)
def test_two_calls_are_two(chunks: list[list[dict[str, Any]]]) -> None:
    """
    By another id, by their index, or because the one before has all of its arguments.
    """
    assert [("f", '{"a":1}'), ("g", "{}")] == gathered(*chunks)


@pytest.mark.parametrize("wishes", ["look", [3], [{"id": "1"}], [wish("")], [wish("f", 3)]])
def test_what_is_no_call_cannot_be_read(wishes: Any) -> None:
    """
    A call names a tool, and its arguments are text or an object.
    """
    with pytest.raises(UnreadableReplyError):
        gathered(wishes)


def test_a_signature_is_carried() -> None:
    """
    What a provider needs back goes with the call, under the backend's name; nothing is made up.
    """
    calls = ToolCalls()
    calls.add_whole({"tool_calls": [wish("f", "{}", extra_content={"s": "c2ln"}), wish("g", "{}")]})

    assert ['{"large":{"extra_content":{"s":"c2ln"}}}', ""] == [call.carried for call in calls.calls("large")]
    assert "" == carried_text("large", {})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", "{}"), ("null", "{}"), ('{"a": 1}', '{"a": 1}'), ('"{\\"a\\": 1}"', '{"a": 1}'), ("[1]", '{"arguments":"[1]"}')],
)
def test_arguments_go_back_as_an_object(arguments: str, expected: str) -> None:
    """
    A server that reads them as an object finds one.
    """
    assert expected == as_object(arguments)
