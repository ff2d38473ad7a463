"""
Prompt templates: the text a node's model is sent in place of the caller's messages.

A template is text with placeholders: `{{ prompt }}` is the last user message, `{{ conversation }}` all messages, one after the
other with their roles, `{{ request.<attribute> }}` what the caller sent for an attribute.  The whole template becomes one
user message.  What is filled in is never looked through again: a caller who writes `{{ … }}` is quoted, not obeyed.
A verifier's template also has `{{ answer.<node> }}`, the text that a node it judges replied with; a model that writes
`{{ … }}` is only quoted as well.  Of an answer the last bytes are shown, where it comes to its point, as many as `max_quoted`
says: an answer that keeps to its `max_tokens` is practically always shown whole, and the bound of the input stays one.
A single brace means itself; two that open something else than a placeholder are a fault, so that no slip reaches a model.
"""

from __future__ import annotations

import heapq
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from meshwalk.model import Value
from meshwalk.model.spelling import did_you_mean
from meshwalk.trace import Message


_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\s*\}\}", re.ASCII)
_OPENING = re.compile(r"\{\{")
_PROMPT = "prompt"
_CONVERSATION = "conversation"
_REQUEST = "request."
_ANSWER = "answer."
_SHOWN = 40
# A template with more of them is no template with slips in it.
_MAX_FAULTS = 100

# The most bytes shown of an answer: of a node without `max_tokens` all of these, of another so many a token.
# Tokens of prose hold four bytes, and those of code and tables seldom more than six.
_MAX_QUOTED = 16 << 10
_BYTES_PER_TOKEN = 8


class Fault(NamedTuple):
    """
    One fault of a placeholder, and its place in the template.
    """

    offset: int
    length: int
    message: str
    help: str = ""


def placeholders(template: str) -> list[tuple[str, int]]:
    """
    List the names in the placeholders of *template*, each with the place of its braces.
    """
    return [(match[1], match.start()) for match in _PLACEHOLDER.finditer(template)]


def quoted(template: str) -> tuple[str, ...]:
    """
    Name the nodes whose answers *template* shows.
    """
    shown = (name.removeprefix(_ANSWER) for name, _ in placeholders(template) if name.startswith(_ANSWER))

    return tuple(dict.fromkeys(shown))


def max_quoted(max_tokens: int | None) -> int:
    """
    Bound the bytes that are shown of an answer of at most *max_tokens*.
    """
    return _MAX_QUOTED if max_tokens is None else min(max_tokens * _BYTES_PER_TOKEN, _MAX_QUOTED)


def faults(template: str, attributes: Collection[str], answers: Collection[str] = ()) -> list[Fault]:
    """
    Find the placeholders of *template* that cannot be filled in.

    Args:
        attributes: The names that `request.<attribute>` may have.
        answers: The names that `answer.<node>` may have.
    """
    in_order = heapq.merge(_malformed(template, answers), _unknown(template, attributes, answers))

    return list(itertools.islice(in_order, _MAX_FAULTS))


def _malformed(template: str, answers: Collection[str]) -> Iterator[Fault]:
    remedy = "write {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}"
    if answers:
        remedy = "write {{ answer.<node> }}, {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}"
    valid = {match.start(): match.end() for match in _PLACEHOLDER.finditer(template)}
    position = 0
    while (opening := _OPENING.search(template, position)) is not None:
        start = opening.start()
        position = valid.get(start, start + 2)
        if start in valid:
            continue
        end = template.find("}}", start, start + _SHOWN)
        stop = start + 2 if end < 0 else end + 2
        shown = template[start:stop].replace("\n", " ")
        yield Fault(start, stop - start, f"'{shown}' is no placeholder", remedy)


def _unknown(template: str, attributes: Collection[str], answers: Collection[str]) -> Iterator[Fault]:
    names = (*(_ANSWER + node for node in answers), *(_REQUEST + attribute for attribute in sorted(attributes)))
    known = dict.fromkeys([_PROMPT, _CONVERSATION, *names])
    for match in _PLACEHOLDER.finditer(template):
        if match[1] not in known:
            remedy = did_you_mean(match[1], known) or f"there are: {', '.join(known)}"
            if match[1].startswith(_ANSWER) and not answers:
                remedy = "answers are shown to verifiers with use: model, which name their nodes in 'of'"
            yield Fault(match.start(), match.end() - match.start(), f"there is no '{match[1]}'", remedy)


def render(
    template: str,
    messages: tuple[Message, ...],
    attributes: Mapping[str, Value],
    answers: Mapping[str, str] = MappingProxyType({}),
    quotes: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Message, ...]:
    """
    Fill in *template*; an attribute that the caller left out, and that has no default, is left out too.

    Args:
        answers: The nodes' replies, by name; each that `quoted` names must be there.
        quotes: The most bytes of each answer that are shown, from `Node.quotes`.
    """
    fillings = []
    for part in _parts(template):
        if not part.name:
            fillings.append(part.text)
        elif part.name == _PROMPT:
            fillings.append(_last_asked(messages))
        elif part.name == _CONVERSATION:
            fillings.append(_conversation(messages))
        elif part.name.startswith(_ANSWER):
            node = part.name.removeprefix(_ANSWER)
            fillings.append(_last_bytes(answers[node], quotes.get(node, _MAX_QUOTED)))
        else:
            fillings.append(_attribute(part.name, attributes))

    return (Message("user", "".join(fillings)),)


class _Part(NamedTuple):
    text: str
    name: str = ""


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[_Part, ...]:
    parts = []
    position = 0
    for placeholder in _PLACEHOLDER.finditer(template):
        parts += [_Part(template[position : placeholder.start()]), _Part("", placeholder[1])]
        position = placeholder.end()

    return (*parts, _Part(template[position:]))


def _last_asked(messages: tuple[Message, ...]) -> str:
    contents = (message.content for message in reversed(messages) if message.role == "user")

    return next(contents, messages[-1].content if messages else "")


def _last_bytes(text: str, max_bytes: int) -> str:
    # A character that would be cut in two is left out.
    if len(text) * 4 <= max_bytes:
        return text
    whole = text.encode("utf-8", "replace")

    return whole[max(0, len(whole) - max_bytes) :].decode("utf-8", "ignore")


def _conversation(messages: tuple[Message, ...]) -> str:
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _attribute(name: str, attributes: Mapping[str, Value]) -> str:
    value = attributes.get(name.removeprefix(_REQUEST), "")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"

    return str(value)


# The longest role that a message may have, and what stands between messages.
_AROUND_MESSAGE = len("developer: ") + len("\n\n")


def text_bytes(text: str) -> int:
    """
    Return the most UTF-8 bytes of *text* in any form that a tokenizer may read it in: as it is, or normalised to NFC or NFKC.

    Raises:
        UnicodeEncodeError: If it holds what is no text.
    """
    if text.isascii():
        return len(text)

    return max(len(text.encode()), *(len(unicodedata.normalize(form, text).encode()) for form in _READ_FORMS))


_READ_FORMS: Final[tuple[Literal["NFC"], Literal["NFKC"]]] = ("NFC", "NFKC")


def bound_bytes(
    template: str,
    input_bytes: int,
    messages: int,
    attributes: Mapping[str, Value],
    quotes: Mapping[str, int] = MappingProxyType({}),
) -> int:
    """
    Bound the UTF-8 bytes of what `render` makes of *messages* messages that hold *input_bytes*, *attributes* and answers.
    """
    total = 0
    for part in _parts(template):
        if not part.name:
            total += text_bytes(part.text)
        elif part.name == _PROMPT:
            total += input_bytes
        elif part.name == _CONVERSATION:
            total += input_bytes + messages * _AROUND_MESSAGE
        elif part.name.startswith(_ANSWER):
            total += quotes.get(part.name.removeprefix(_ANSWER), _MAX_QUOTED)
        else:
            total += text_bytes(_attribute(part.name, attributes))

    return total
