"""
A stream of events is the same however its bytes come, and as the standard has it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.openai.events import DONE, UNREADABLE, Events


# Bytes that mean something in a stream, and such as do not.
BYTES = st.lists(
    st.sampled_from([
        b"\r", b"\n", b"\r\n", b":", b"data", b"data:", b"data: ", b" ", b"event: e", b"id", b"{}", b'{"a": 1', b"}", b"[DONE]",
        "é".encode(),
    ])
).map(b"".join)  # fmt: skip


def value_of(data: bytes) -> Any:
    if data == b"[DONE]":
        return DONE
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except ValueError:
        return UNREADABLE


def slow(stream: bytes) -> list[Any]:
    """
    Read a whole stream as the standard says, one line after the other, and each object on a line of its own as an event.
    """
    stream = stream.removeprefix("\ufeff".encode())
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events: list[Any] = []
    data: list[bytes] = []
    for line in lines:
        if not line:
            text = b"\n".join(data).strip()
            events += [value_of(text)] if text else []
            data = []
        elif line.startswith(b"data:") or line == b"data":
            value = line[5:].strip()
            if not data and (value == b"[DONE]" or isinstance(value_of(value), dict)):
                events.append(value_of(value))
            else:
                data.append(value)

    return events


class TestEvents:
    @given(BYTES, st.data())
    def test_chunks_make_no_difference(self, stream: bytes, data: st.DataObject) -> None:
        """
        Wherever a stream is cut, its events are those of the whole.
        """
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
        events = Events()
        found = [
            event.value
            for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
            for event in events.feed(stream[start:end])
        ]

        assert slow(stream) == found

    @pytest.mark.parametrize(
        ("stream", "expected"),
        [
            (b"data: 1\n\ndata:2\n\n", [1, 2]),
            (b"\xef\xbb\xbfdata: 1\r\n\r\n", [1]),
            (b": kept open\n\ndata: 1\n\n", [1]),
            (b"event: chunk\nid: 7\ndata: 1\nretry: 3\n\n", [1]),
            (b'data: {"a":\ndata:  1}\n\n', [{"a": 1}]),
            (b'data: {"a": 1}\ndata: {"b": 2}\ndata: [DONE]\n', [{"a": 1}, {"b": 2}, DONE]),
            (b"data: 1\n\ndata: 2\n", [1]),
            (b"data: [DONE] \n\n", [DONE]),
            (b"data: still here\n\n", [UNREADABLE]),
            (b"data\n\n", []),
            (b"data: \n\ndata:\n\n", []),
            (b"database: a\n\n", []),
            (b"\n\n\n", []),
        ],
    )
    def test_what_an_event_is(self, stream: bytes, expected: list[Any]) -> None:
        """
        Comments, other fields and what only keeps a connection warm are passed over; several lines are one text.
        """
        assert expected == [event.value for event in Events().feed(stream)]

    @pytest.mark.parametrize(
        ("stream", "expected"),
        [(b"data: {}", [{}]), (b"data: 1\n", [1]), (b'data: {"a', []), (b"data: {}\n\n", []), (b"", [])],
    )
    def test_a_clean_end_ends_the_last_event(self, stream: bytes, expected: list[Any]) -> None:
        """
        What lacks its empty line is an event at the end of the body, and what was cut in half is none.
        """
        events = Events()
        whole = [event.value for event in events.feed(stream)]

        assert ([{}] if stream.endswith(b"}\n\n") else []) == whole
        assert expected == [event.value for event in events.end()]

    def test_a_byte_at_a_time(self) -> None:
        """
        The byte order mark, too, may come in pieces.
        """
        events, stream = Events(), '\ufeffdata: "é"\r\n\r\n'.encode()

        assert ["é"] == [event.value for at in range(len(stream)) for event in events.feed(stream[at : at + 1])]

    def test_a_name_goes_with_its_event(self) -> None:
        """
        The name stands before the data, and is that of one event.
        """
        found = Events().feed(b"event: error\ndata: {}\n\ndata: {}\n\n")

        assert ["error", ""] == [event.name for event in found]
