"""
A record as text and back.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Limits
from meshwalk.model.problems import TraceError
from meshwalk.trace import (
    FORMAT,
    Began,
    Content,
    Facts,
    Failed,
    Finish,
    FullTrace,
    Message,
    Outcome,
    Source,
    Traversal,
    decode,
    encode,
)
from tests.support.random_records import traversals


def said(traversal: Traversal) -> dict[str, Any]:
    names = {name for name in Traversal.__slots__ if not name.startswith("_")}

    return {name: getattr(traversal, name) for name in sorted(names | {"steps", "decisions"})}


def shortest(*, decisions: Any = (), content: Content | None = None) -> Traversal:
    began = Began(0, Facts((), 0, 0), Limits(), ())
    trace = FullTrace(["sorry"], [(began, (Finish(Outcome.REFUSED),))], list(decisions))

    return Traversal(Source("g", "", "p", "s"), "t", "a", "b", "", sampled=True, began_unix_us=1, trace=trace, content=content)


@pytest.mark.slow
@given(traversals())
def test_record_survives_the_trip(traversal: Traversal) -> None:
    """
    Decoding what was encoded gives every field back, in its own type.
    """
    back = decode(encode(traversal))

    assert said(traversal) == said(back)
    # Named tuples are equal to any tuple, and their window tells them apart.
    assert repr(said(traversal)) == repr(said(back))


@pytest.mark.slow
@given(traversals())
def test_same_record_is_the_same_text(traversal: Traversal) -> None:
    """
    A record has one text, however often it went through the codec.
    """
    text = encode(traversal)

    assert text == encode(decode(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=40) | JSON.map(orjson.dumps))
def test_other_text_is_refused(text: bytes) -> None:
    """
    Whatever is no record is refused with the house's own error.
    """
    with pytest.raises(TraceError):
        decode(text)


@pytest.mark.slow
@given(st.data())
def test_damaged_record_is_refused_or_read(data: st.DataObject) -> None:
    """
    A record in which one part was replaced never fails in any other way.
    """
    document = orjson.loads(encode(data.draw(traversals())))
    key = data.draw(st.sampled_from(sorted(document)))
    document[key] = data.draw(JSON)
    try:
        back = decode(orjson.dumps(document))
    except TraceError:
        return

    assert encode(back) == encode(decode(encode(back)))


def test_other_format_is_named() -> None:
    """
    A record of a later format says which one it has and which one is read here.
    """
    document = orjson.loads(encode(shortest())) | {"format": FORMAT + 1}
    with pytest.raises(TraceError, match=f"has format {FORMAT + 1}, and this meshwalk reads format {FORMAT}; the version"):
        decode(orjson.dumps(document))


def test_what_is_not_text_is_replaced() -> None:
    """
    Lone surrogates, which only a backend of the user's own can give, do not cost the record.
    """
    traversal = shortest()
    traversal.steps.append((Failed(0, 5, "malformed", "it said \ud800"), ()))
    entry, _ = decode(encode(traversal)).steps[-1]

    assert Failed(0, 5, "malformed", "it said ?") == entry


def test_value_that_is_no_value_is_refused() -> None:
    """
    A record holds plain values only.
    """
    with pytest.raises(TypeError, match="set"):
        encode(shortest(decisions=[{1, 2}]))


def test_record_without_content_has_no_words() -> None:
    """
    Content that was not recorded stays absent, and recorded content comes back.
    """
    words = Content((Message("user", "why?", "ada"),), "because")

    assert decode(encode(shortest())).content is None
    assert words == decode(encode(shortest(content=words))).content
