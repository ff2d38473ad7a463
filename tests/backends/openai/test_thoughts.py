"""
Thoughts are told from the answer: in fields, in parts of a content, between tags.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.openai.thoughts import TagFilter, content_of, thoughts_in
from meshwalk.backends.openai.tool_calls import UnreadableReplyError
from meshwalk.model import ThoughtTags


THINK = ThoughtTags("<think>", "</think>")


def filtered(tags: ThoughtTags | None, *pieces: str) -> tuple[str, str]:
    tag_filter = TagFilter(tags)
    found = [*map(tag_filter.feed, pieces), tag_filter.end()]

    return "".join(answer for answer, _ in found), "".join(thought for _, thought in found)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"reasoning_content": "hm"}, "hm"),
        ({"reasoning": "hm", "reasoning_details": [{"text": "hm"}]}, "hm"),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "h"}, {"type": "reasoning.summary", "summary": "m"}]}, "hm"),
        ({"thinking": [{"type": "text", "text": "hm"}]}, "hm"),
        ({"reasoning_content": None, "content": "Four."}, ""),
    ],
)
def test_fields_of_thoughts(message: dict[str, Any], expected: str) -> None:
    """
    Of several that say the same one counts.
    """
    assert expected == thoughts_in(message)


def test_parts_of_a_content() -> None:
    """
    Texts are joined, thoughts are kept apart, other parts are left out.
    """
    texts = [{"type": "text", "text": text} for text in ("Fo", "ur.")]
    parts = [{"type": "thinking", "thinking": "hm"}, *texts, {"type": "image"}]

    assert ("Four.", "hm") == content_of(parts)
    assert ("Four.", "") == content_of("Four.")
    assert (None, "") == content_of(None)


@pytest.mark.parametrize("content", [4, {}, ["Four."], [{"text": "Four."}], [{"type": "text", "text": 4}]])
def test_what_is_no_content_cannot_be_read(content: Any) -> None:
    """
    Neither a text nor a list of parts.
    """
    with pytest.raises(UnreadableReplyError):
        content_of(content)


@pytest.mark.parametrize(
    ("tags", "text", "expected"),
    [
        (THINK, "<think>hm</think>\n\nFour.", ("Four.", "hm")),
        (THINK, " \n<think>h</think><think>m</think> Four.", ("Four.", "hm")),
        (THINK, "Four <think>hm</think>.", ("Four <think>hm</think>.", "")),
        (THINK, "<think>hm", ("", "hm")),
        (THINK, "<thin", ("<thin", "")),
        (THINK, "<think>hm</think>\n", ("", "hm")),
        (ThoughtTags("", "</think>"), "hm</think>Four.", ("Four.", "hm")),
        (None, "<think>hm</think>Four.", ("<think>hm</think>Four.", "")),
    ],
)
@given(data=st.data())
def test_tags_are_read_however_the_text_is_cut(
    tags: ThoughtTags | None, text: str, expected: tuple[str, str], data: st.DataObject
) -> None:
    """
    Thoughts stand at the beginning; what is behind the first word is text.
    """
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert expected == filtered(tags, *pieces)
