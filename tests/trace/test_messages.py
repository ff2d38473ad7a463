"""
Messages given as mappings are the messages that they stand for.
"""

from __future__ import annotations

from typing import Any

import pytest

from meshwalk.model.problems import RequestError
from meshwalk.trace import Message, ToolCall
from meshwalk.trace.messages import messages_of


CALL = ToolCall("c1", "look", "{}")
WISH = {"name": "look", "arguments": "{}"}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hello", (Message("user", "hello"),)),
        (Message("user", "hello"), (Message("user", "hello"),)),
        ({"role": "user", "content": "hello"}, (Message("user", "hello"),)),
        ([{"role": "system", "content": "brief"}, Message("user", "hi")], (Message("system", "brief"), Message("user", "hi"))),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
                }
            ],
            (Message("assistant", "", tool_calls=(CALL,)),),
        ),
        (
            [{"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "name": "look", "arguments": "{}"}]}],
            (Message("assistant", "", tool_calls=(CALL,)),),
        ),
        ([{"role": "tool", "content": "sunny", "tool_call_id": "c1"}], (Message("tool", "sunny", tool_call_id="c1"),)),
        ([], ()),
    ],
)
def test_messages(prompt: Any, expected: tuple[Message, ...]) -> None:
    """
    A text is the user's; a mapping has the fields that OpenAI's API has.
    """
    assert expected == messages_of(prompt)


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (None, "messages"),
        (b"hello", "messages"),
        ([5], "messages[0]"),
        ([{"role": "user"}], "messages[0]"),
        ([{"content": "hello"}], "messages[0]"),
        ([{"role": 5, "content": "hello"}], "messages[0].role"),
        ([{"role": "user", "content": "hello", "nmae": "Ann"}], "messages[0].nmae"),
        ([{"role": "assistant", "tool_calls": [5]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [{"id": "c1", "name": "look"}]}], "messages[0].tool_calls[0].arguments"),
        ([{"role": "assistant", "tool_calls": [{"id": 1, "name": "a", "arguments": ""}]}], "messages[0].tool_calls[0].id"),
    ],
)
def test_what_is_no_message(prompt: Any, field: str) -> None:
    """
    The field that is wrong is named by its place.
    """
    with pytest.raises(RequestError) as refusal:
        messages_of(prompt)

    assert [field] == [violation.field for violation in refusal.value.violations]
