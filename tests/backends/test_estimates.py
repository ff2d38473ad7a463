"""
What nobody counted is estimated by all that was sent and all that came.
"""

from __future__ import annotations

from meshwalk.backends import estimates
from meshwalk.backends.roles import estimate_tokens
from meshwalk.trace import Message, Reply, ReplyOptions, ResponseFormat, Tool, ToolCall


def test_input_is_all_that_was_sent() -> None:
    """
    Messages with their tool calls, tools and the format.
    """
    call = ToolCall("c", "look", '{"at": "Rome"}')
    messages = (Message("user", "Two and two?"), Message("assistant", "", tool_calls=(call,)))
    form = ReplyOptions((Tool("look", "Look at a city.", '{"type": "object"}'),), "", ResponseFormat("json_schema", "r", "{}"))
    texts = ["Two and two?", "look", '{"at": "Rome"}', "look", "Look at a city.", '{"type": "object"}', "r", "{}"]

    assert sum(map(estimate_tokens, texts)) == estimates.input_tokens(messages, form)


def test_output_is_all_that_came() -> None:
    """
    Every sample, and the tool calls.
    """
    reply = Reply("Four.", samples=("Four.", "Five, I think."), tool_calls=(ToolCall("c", "look", "{}"),))

    assert sum(map(estimate_tokens, ["Four.", "Five, I think.", "look", "{}"])) == estimates.output_tokens(reply)
