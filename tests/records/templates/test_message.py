"""
A template writes what setting the fields would have.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.records.templates import Path, Template, Text
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2


SIZES = st.integers(0, 300) | st.integers(16_000, 17_000) | st.integers(0, (1 << 35) - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("x", min_size=120, max_size=140)


def reply(traversal_id: str, answer: str, took: int, tokens: int, share: float, label: str, kept: bool) -> Any:
    """
    Make a message with fields of every kind that templates have places for: nested, repeated, and in maps.
    """
    made = routing_pb2.RouteResponse(traversal_id=traversal_id, path=["a", "b"], latency_us=took)
    made.answer.text, made.answer.node = answer, "b"
    hops = made.traversal.hops
    hops.add(node="a", latency_us=took).outputs["share"].double_value = share
    hops.add(node="b").usage.input_tokens = tokens
    hops[1].outputs["label"].string_value = label
    hops[1].outputs["kept"].bool_value = kept

    return made


PLACES: dict[Path, str | Text] = {
    ("traversal_id",): Text("traversal_id", 4),
    ("answer", "text"): Text("answer.encode()"),
    ("latency_us",): "took",
    ("traversal", "hops", 0, "latency_us"): "took",
    ("traversal", "hops", 0, "outputs", "share", "double_value"): "share",
    ("traversal", "hops", 1, "usage", "input_tokens"): "doubled // 2",
    ("traversal", "hops", 1, "outputs", "label", "string_value"): Text("label.encode()"),
    ("traversal", "hops", 1, "outputs", "kept", "bool_value"): "kept",
}
ARGUMENTS = "traversal_id", "answer", "took", "tokens", "share", "label", "kept"


def template(like: Message) -> Template:
    return Template(like, PLACES, ARGUMENTS, ["doubled = twice(tokens)"], {"twice": lambda number: 2 * number})


@given(TEXTS, SIZES, SIZES, st.floats(allow_nan=False), TEXTS, st.booleans())
def test_it_writes_what_the_fields_say(answer: str, took: int, tokens: int, share: float, label: str, kept: bool) -> None:
    """
    Whatever is put into the places reads as if it had been set.
    """
    write = template(reply("wxyz", "", 0, 0, 0.0, "", kept=False)).write
    written = write(b"abcd", answer, took, tokens, share, label, kept)

    assert reply("abcd", answer, took, tokens, share, label, kept) == routing_pb2.RouteResponse.FromString(written)


@pytest.mark.parametrize("tokens", [-1, 1 << 35])
def test_what_has_no_room_is_an_error(tokens: int) -> None:
    """
    A number that its place cannot hold is never cut.
    """
    write = template(reply("wxyz", "", 0, 0, 0.0, "", kept=False)).write

    with pytest.raises(OverflowError, match=f"{tokens} has no room in 5 bytes"):
        write(b"abcd", "", 0, tokens, 0.0, "", True)
