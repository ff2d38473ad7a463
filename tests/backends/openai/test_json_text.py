"""
Strict JSON is read as it is, and the slips that leave no doubt are mended.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.openai.json_text import Joiner, NotJsonError, loads, scalar_text, without_last_word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a": 1}', ({"a": 1}, False)),
        (b'{"a": NaN, "b": -Infinity}', ({"a": None, "b": None}, True)),
        (b'\xef\xbb\xbf{"a": 1}', ({"a": 1}, True)),
        (rb'"\ud83d"', ("\ud83d", True)),
        (b'"\xff"', ("\ufffd", True)),
    ],
)
def test_slips_are_mended(text: bytes, expected: Any) -> None:
    """
    Numbers that are none are null, and halves of characters stay until their other half is seen.
    """
    assert expected == loads(text)


@pytest.mark.parametrize("text", [b'{"a": 1,}', b'{"a"', b"<html>", b"", b"[" * 100_000])
def test_garbage_stays_garbage(text: bytes) -> None:
    """
    What is no JSON is none.
    """
    with pytest.raises(NotJsonError):
        loads(text)


def test_the_last_word_is_taken_off() -> None:
    """
    Some servers end a whole answer as they would a stream.
    """
    assert b"{}" == without_last_word(b"{}\n\ndata: [DONE]\n\n")
    assert b"{}" == without_last_word(b"{}")


@given(st.text(st.sampled_from("a\u00e9\U0001f600\ud83d\ude00")), st.data())
def test_pieces_are_text_and_add_up(text: str, data: st.DataObject) -> None:
    """
    However a text is cut, each piece is text at every moment, and all of them are the whole.
    """
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    joiner = Joiner()
    pieces = [joiner.add(text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    pieces.append(joiner.end())

    assert all(piece.encode() is not None for piece in pieces)
    assert scalar_text(text) == "".join(pieces)
