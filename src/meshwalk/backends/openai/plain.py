"""
The reading of answers that keep to the protocol to the letter, which most do: the same reply as `Assembly` gives, and sooner.

An answer with anything that this module does not know is left to `Assembly`.
"""

from __future__ import annotations

from typing import Any

from meshwalk.trace import Reply, Timing, Usage


_ANSWER = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"})
_CHOICE = frozenset({"index", "message", "finish_reason", "logprobs"})
_SAID = frozenset({"role", "content"})
_ENDS = frozenset({"stop", "length"})
_MOST_TOKENS = 1 << 53


def plain_reply(answer: Any, model: str, timing: Timing) -> Reply | None:
    """
    Return the reply in an answer of one plain text whose tokens were counted; None if it is anything else.

    Args:
        model: The name that was asked for, and that the answer must name.
    """
    if type(answer) is not dict or not answer.keys() <= _ANSWER or answer.get("object") != "chat.completion":
        return None
    choices = answer.get("choices")
    if type(choices) is not list or len(choices) != 1 or answer.get("model") != model:
        return None
    choice, usage = choices[0], _usage_of(answer.get("usage"))
    if usage is None or type(choice) is not dict or not choice.keys() <= _CHOICE:
        return None
    text, reason = _text_of(choice.get("message")), choice.get("finish_reason")
    if not text or reason not in _ENDS or choice.get("index") != 0 or choice.get("logprobs") is not None:
        return None

    return Reply(text, finish_reason=reason, usage=usage, timing=timing, model=model)


def _text_of(message: Any) -> str:
    """
    Return the text of a message that has a role and a text alone; empty for any other.
    """
    if type(message) is not dict:
        return ""
    text = message.get("content")
    beside = [value for name, value in message.items() if value is not None and name not in _SAID]

    return text if type(text) is str and not any(beside) else ""


def _usage_of(given: Any) -> Usage | None:
    if type(given) is not dict:
        return None
    incoming, outgoing, total = given.get("prompt_tokens"), given.get("completion_tokens"), given.get("total_tokens")
    if type(incoming) is not int or type(outgoing) is not int or type(total) is not int:
        return None
    if total != incoming + outgoing or not 0 < incoming < _MOST_TOKENS or not 0 < outgoing < _MOST_TOKENS:
        return None
    # Counts of parts are rarer, and have rules of their own.
    return Usage(incoming, outgoing) if len(given) == 3 else None
