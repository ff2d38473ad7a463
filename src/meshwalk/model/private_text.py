"""
Texts with words in them that somebody outside wrote: a provider, or an author's own function.

Such words may repeat a prompt, an answer or anything else that was sent.  They are for the caller of that walk, and for a
record only where its graph records content.  Everything else writes a text as it stands, and a `PrivateText` stands without
them.
"""

from __future__ import annotations

from typing import Self


class PrivateText(str):
    """
    A text that stands without the words of somebody outside, and that carries them beside it.

    Whatever formats, joins or encodes it takes it for the text without them; only `disclosed` gives the words away.

    Attributes:
        whole: The text with the words.
    """

    __slots__ = ("whole",)

    whole: str

    def __new__(cls, text: str, whole: str) -> Self:
        """
        Make a text that stands as *text* and carries *whole*.
        """
        made = super().__new__(cls, text)
        made.whole = whole

        return made

    def __reduce__(self) -> tuple[type[PrivateText], tuple[str, str]]:
        return type(self), (str(self), self.whole)


def private(words: str, code: str = "") -> PrivateText:
    """
    Return *words* as a text that stands as their length.

    Args:
        code: A word of a closed list that says what they are about; it stands before the length.
    """
    length = f"a text of {len(words)} character{'' if len(words) == 1 else 's'}"

    return PrivateText(f"{code}, {length}" if code else length, words)


def joined(*parts: str) -> str:
    """
    Put *parts* together; a private one makes the whole private.
    """
    if not any(isinstance(part, PrivateText) for part in parts):
        return "".join(parts)

    return PrivateText("".join(map(str, parts)), "".join(map(disclosed, parts)))


def disclosed(text: str) -> str:
    """
    Return *text* with all of its words, for whoever may read them.
    """
    return text.whole if isinstance(text, PrivateText) else text


def disclosed_error(error: Exception) -> str:
    """
    Return the message of *error* with all of its words.
    """
    return disclosed(error.args[0]) if error.args and isinstance(error.args[0], str) else str(error)
