"""
A stream of server-sent events, taken apart: bytes in, events out.

It follows the HTML standard as far as chat streams go: lines end in LF, CR or both, a colon begins a comment, several
`data` lines are one text, an empty line ends the event.  Where the bytes are cut into chunks makes no difference; each is
looked at once, so that a body that drips costs no more than one that flows.

Three things go beyond the standard.  A data line that is a JSON object, or the last word, is an event at once: some servers
leave out the empty line behind it.  A body that ends cleanly ends its last event, if that can be read.  An error is one also as
words under its name, and as a line of JSON that is no field.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final, NamedTuple

from meshwalk.backends.openai.json_text import NotJsonError, loads


class Sign(Enum):
    """
    The values of events that hold no JSON.
    """

    DONE = "done"
    UNREADABLE = "unreadable"


DONE: Final = Sign.DONE
UNREADABLE: Final = Sign.UNREADABLE

_DONE = b"[DONE]"
_ERROR = "error"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """
    One event: its name, the JSON value of its data, and whether that had to be mended.
    """

    value: Any
    name: str = ""
    mended: bool = False


class Events:
    """
    The bytes of a stream that form no whole event yet; the caller bounds them.

    Attributes:
        ran_together: Whether an event came without the empty line that ends it.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_line", "_name", "_open", "ran_together")

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._name = ""
        self._after_cr = False
        self._at_start = True
        # True if an event was passed on before its empty line has come.
        self._open = False
        self.ran_together = False

    def feed(self, chunk: bytes) -> list[Event]:
        """
        Return the events that end in *chunk*.
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

    def end(self) -> list[Event]:
        """
        Return the last event of a body that ended cleanly without an empty line; one that was cut off is none.
        """
        line, self._line = bytes(self._line), bytearray()
        found = [] if not line else [event for event in [self._take(line)] if event is not None]
        last = self._flush()
        if last is not None and last.value is not UNREADABLE:
            found.append(last)
        self.ran_together |= bool(found) or self._open

        return found

    def _take(self, line: bytes) -> Event | None:
        if not line:
            self._open = False
            return self._flush()
        field, _, value = line.partition(b":")
        if field == b"data":
            return self._data_line(value.strip())
        if field == b"event":
            self._name = value.decode("utf-8", "replace").strip().lower()
        elif line.startswith(b"{"):
            return _bare_error(line)

        return None

    def _data_line(self, value: bytes) -> Event | None:
        if not self._data:
            event = None
            if value.startswith(b"{") and value.endswith(b"}"):
                event = _read(value, self._name)
            elif value.upper() == _DONE:
                event = Event(DONE, self._name)
            if event is not None and event.value is not UNREADABLE:
                self.ran_together |= self._open
                self._open, self._name = True, ""
                return event
        self._data.append(value)

        return None

    def _flush(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name = [], ""
        if not data:
            return None
        text = b"\n".join(data).strip()
        # An event without data only keeps the connection open.
        if not text:
            return None

        return _read(text, name)


def _bare_error(line: bytes) -> Event | None:
    """
    Read a line that is an error in JSON and no field of an event.
    """
    event = _read(line.strip(), "")
    if not isinstance(event.value, dict) or not event.value.get(_ERROR):
        return None

    return event._replace(name=_ERROR, mended=True)


def _read(text: bytes, name: str) -> Event:
    if text.strip(b'"').upper() == _DONE:
        return Event(DONE, name)
    try:
        value, mended = loads(text)
    except NotJsonError:
        if name != _ERROR:
            return Event(UNREADABLE, name)
        # An event that the server names an error is one, even if its data is no JSON.
        return Event({_ERROR: text.decode("utf-8", "replace")}, name, mended=True)

    return Event(value, name, mended)
