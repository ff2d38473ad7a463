"""
A stream of events is the same however its bytes come, and as the standard has it.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.openai.events import Events


# Bytes that mean something in a stream, and such as do not.
BYTES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b":", b"data", b"data:", b"data: ", b" ", b"event: e", b"id", b"{}", "é".encode()])
).map(b"".join)


def slow(stream: bytes) -> list[bytes]:
    """
    Read a whole stream as the standard says, one line after the other.
    """
    stream = stream.removeprefix("\ufeff".encode())
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines:
        if not line and data:
            events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data: "):
            data.append(line[6:])
        elif line.startswith(b"data:") or line == b"data":
            data.append(line[5:])

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
            event
            for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
            for event in events.feed(stream[start:end])
        ]

        assert slow(stream) == found

    @pytest.mark.parametrize(
        ("stream", "expected"),
        [
            (b"data: a\n\ndata:b\n\n", [b"a", b"b"]),
            (b"\xef\xbb\xbfdata: a\r\n\r\n", [b"a"]),
            (b": kept open\n\ndata: a\n\n", [b"a"]),
            (b"event: chunk\nid: 7\ndata: a\nretry: 3\n\n", [b"a"]),
            (b'data: {"a":\ndata:  1}\n\n', [b'{"a":\n 1}']),
            (b"data: a\n\ndata: broken off\n", [b"a"]),
            (b"data\n\n", [b""]),
            (b"database: a\n\n", []),
            (b"\n\n\n", []),
        ],
    )
    def test_what_an_event_is(self, stream: bytes, expected: list[bytes]) -> None:
        """
        Comments, other fields and what is not at its end are passed over; several lines are one text.
        """
        assert expected == Events().feed(stream)

    def test_a_byte_at_a_time(self) -> None:
        """
        The byte order mark, too, may come in pieces.
        """
        events, stream = Events(), "\ufeffdata: é\r\n\r\n".encode()

        assert ["é".encode()] == [event for at in range(len(stream)) for event in events.feed(stream[at : at + 1])]
