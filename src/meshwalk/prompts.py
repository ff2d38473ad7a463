"""
Prompt templates: what a node is sent instead of the caller's messages.

A template is text with placeholders: `{{ prompt }}` is the last user message, `{{ conversation }}` all messages, one after the
other with their roles, `{{ request.<attribute> }}` what the caller sent for an attribute.  The whole template becomes one
user message.  What is filled in is never looked through again: a caller who writes `{{ … }}` is quoted, not obeyed.
A single brace means itself; two that open something else than a placeholder are a fault, so that no slip reaches a model.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from meshwalk.model import Value
from meshwalk.problems import did_you_mean
from meshwalk.trace import Message


_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\s*\}\}", re.ASCII)
_OPENING = re.compile(r"\{\{")
_PROMPT = "prompt"
_CONVERSATION = "conversation"
_REQUEST = "request."
_SHOWN = 40
# A template with more of them is no template with slips in it.
_MOST_FAULTS = 100


class Fault(NamedTuple):
    """
    Say what is wrong with one placeholder, and where in the template it stands.
    """

    offset: int
    length: int
    message: str
    help: str = ""


def placeholders(template: str) -> list[tuple[str, int]]:
    """
    List the names that *template* speaks of, each with the place of its braces.
    """
    return [(found[1], found.start()) for found in _PLACEHOLDER.finditer(template)]


def faults(template: str, attributes: Collection[str]) -> list[Fault]:
    """
    Find the placeholders of *template* that cannot be filled in.

    Args:
        attributes: What may be spoken of as `request.<attribute>`.
    """
    found = heapq.merge(_malformed(template), _unknown(template, attributes))

    return list(itertools.islice(found, _MOST_FAULTS))


def _malformed(template: str) -> Iterator[Fault]:
    sound = {found.start(): found.end() for found in _PLACEHOLDER.finditer(template)}
    position = 0
    while (opening := _OPENING.search(template, position)) is not None:
        start = opening.start()
        position = sound.get(start, start + 2)
        if start in sound:
            continue
        end = template.find("}}", start, start + _SHOWN)
        stop = start + 2 if end < 0 else end + 2
        shown = template[start:stop].replace("\n", " ")
        yield Fault(
            start,
            stop - start,
            f"'{shown}' is no placeholder",
            "write {{ prompt }}, {{ conversation }} or {{ request.<attribute> }}",
        )


def _unknown(template: str, attributes: Collection[str]) -> Iterator[Fault]:
    known = dict.fromkeys([_PROMPT, _CONVERSATION, *(_REQUEST + attribute for attribute in attributes)])
    for found in _PLACEHOLDER.finditer(template):
        if found[1] not in known:
            remedy = did_you_mean(found[1], known) or f"there are: {', '.join(known)}"
            yield Fault(found.start(), found.end() - found.start(), f"there is no '{found[1]}'", remedy)


def render(template: str, messages: tuple[Message, ...], attributes: Mapping[str, Value]) -> tuple[Message, ...]:
    """
    Fill in *template*; an attribute that the caller left out, and that has no default, is left out too.
    """
    fillings = []
    for part in _parts(template):
        if not part.name:
            fillings.append(part.text)
        elif part.name == _PROMPT:
            fillings.append(_last_asked(messages))
        elif part.name == _CONVERSATION:
            fillings.append(_conversation(messages))
        else:
            fillings.append(_attribute(part.name, attributes))

    return (Message("user", "".join(fillings)),)


class _Part(NamedTuple):
    text: str
    name: str = ""


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[_Part, ...]:
    found = []
    position = 0
    for placeholder in _PLACEHOLDER.finditer(template):
        found += [_Part(template[position : placeholder.start()]), _Part("", placeholder[1])]
        position = placeholder.end()

    return (*found, _Part(template[position:]))


def _last_asked(messages: tuple[Message, ...]) -> str:
    asked = (message.content for message in reversed(messages) if message.role == "user")

    return next(asked, messages[-1].content if messages else "")


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


def bound_bytes(template: str, input_bytes: int, messages: int, attributes: Mapping[str, Value]) -> int:
    """
    Bound the UTF-8 bytes of what `render` makes of *messages* messages that hold *input_bytes*, and of *attributes*.
    """
    total = 0
    for part in _parts(template):
        if not part.name:
            total += len(part.text.encode())
        elif part.name == _PROMPT:
            total += input_bytes
        elif part.name == _CONVERSATION:
            total += input_bytes + messages * _AROUND_MESSAGE
        else:
            total += len(_attribute(part.name, attributes).encode())

    return total
