"""
Take a stream of server-sent events apart: bytes in, the data of each event out.

It follows the HTML standard as far as chat streams go: lines end in LF, CR or both, a colon begins a comment, several
`data` lines are one text, an empty line ends the event.  An event that the stream breaks off in is none.  Where the bytes
are cut into chunks makes no difference; each is looked at once, so that a body which drips costs no more than one that flows.
"""

from __future__ import annotations

import re


DONE = b"[DONE]"

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Events:
    """
    Hold what came of a stream and is no whole event yet; whoever feeds it bounds it.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_line")

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """
        Return the data of the events that end in *chunk*.
        """
        if not chunk:
            return []
        # The two halves of a line's end may come apart; its first half has ended the line already.
        if self._after_cr and chunk[0] == 0x0A:
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        # Most streams have one kind of line end, and looking for that is several times as fast.
        lines: list[bytes] = chunk.split(b"\n") if b"\r" not in chunk else _LINE_END.split(chunk)
        self._line += lines[0]
        if len(lines) == 1:
            return []
        lines[0], self._line = bytes(self._line), bytearray(lines.pop())
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)

        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))

        return None
