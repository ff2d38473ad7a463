"""
The thoughts of an answer: the fields they stand in, the parts of a content that hold them, and the tags round them.

Thoughts are paid for and not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshwalk.backends.openai import spellings
from meshwalk.backends.openai.tool_calls import UnreadableReplyError
from meshwalk.model import ThoughtTags


_NO_CONTENT = "its content is neither a text nor a list of parts"


def thoughts_in(message: Mapping[str, Any]) -> str:
    """
    Return the thoughts that stand beside the content of a message, or of a part of one.
    """
    return next((text for field in spellings.THOUGHT_FIELDS if (text := _words_of(message.get(field)))), "")


def content_of(given: Any) -> tuple[str | None, str]:
    """
    Return the text of a content and the thoughts among its parts; a text of None says that there is none.

    Raises:
        UnreadableReplyError: If the content is neither a text nor a list of parts.
    """
    if given is None or isinstance(given, str):
        return given, ""
    if not isinstance(given, list):
        raise UnreadableReplyError(_NO_CONTENT)
    texts, thoughts = [], []
    for part in given:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise UnreadableReplyError(_NO_CONTENT)
        if part.get("thought") is True:
            thoughts.append(_words_of(part))
        elif kind in spellings.TEXT_PARTS:
            text = part.get("text")
            if not isinstance(text, str):
                raise UnreadableReplyError(_NO_CONTENT)
            texts.append(text)
        elif kind in spellings.THOUGHT_PARTS:
            thoughts.append(_words_of({key: value for key, value in part.items() if key != "type"}))

    return "".join(texts), "".join(thoughts)


_WORDED = ("text", "thinking", "reasoning", "content", "summary")


def _words_of(given: Any) -> str:
    """
    Return the words in a field of thoughts, in whichever shape it has them.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, list):
        return "".join(map(_words_of, given))
    if isinstance(given, dict):
        return next((words for name in _WORDED if (words := _words_of(given.get(name)))), "")

    return ""


class TagFilter:
    """
    A filter for thoughts that stand between tags at the beginning of a content.

    A tag that stands anywhere behind the first word of the answer is text.  An empty opening tag says that every answer begins
    with thoughts.

    Attributes:
        unfinished: Whether the thoughts have not ended.
    """

    __slots__ = ("_close", "_held", "_inside", "_open", "_over", "_strip")

    def __init__(self, tags: ThoughtTags | None) -> None:
        self._open, self._close = ("", "") if tags is None else tags
        self._over = tags is None
        self._inside = tags is not None and not self._open
        self._strip = False
        self._held = ""

    @property
    def unfinished(self) -> bool:
        """
        Tell whether the thoughts have not ended.
        """
        return not self._over and self._inside

    @property
    def before_answer(self) -> bool:
        """
        Tell whether thoughts came, or may go on, and nothing of the answer did.
        """
        return not self._over and (self._inside or self._strip)

    def feed(self, text: str) -> tuple[str, str]:
        """
        Return the parts of *text* that belong to the answer and to the thoughts.
        """
        if self._over:
            return text, ""
        held = self._held + text
        answer = thoughts = ""
        while held:
            if self._inside:
                before, closed, held_after = held.partition(self._close)
                if not closed:
                    kept = _overlap(held, self._close)
                    thoughts += held[: len(held) - kept]
                    held = held[len(held) - kept :]
                    break
                thoughts, held = thoughts + before, held_after
                self._inside, self._strip = False, True
                continue
            bare = held.lstrip()
            if self._open and bare.startswith(self._open):
                held, self._inside = bare[len(self._open) :], True
                continue
            if not bare or (self._open and self._open.startswith(bare)):
                break
            answer, held = (bare if self._strip else held), ""
            self._over = True
        self._held = held

        return answer, thoughts

    def end(self) -> tuple[str, str]:
        """
        Return the parts that are left at the end.
        """
        held, self._held = self._held, ""
        if self._inside and not self._over:
            return "", held

        return ("" if self._strip and not held.strip() else held), ""


def _overlap(text: str, tag: str) -> int:
    """
    Return the number of characters at the end of *text* that may begin *tag*.
    """
    return next((size for size in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-size:])), 0)
