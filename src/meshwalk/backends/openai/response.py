"""
The reading of an answer's body: what it is, how long it is waited for, and where it ends.
"""

from __future__ import annotations

import re
from typing import Literal

import aiohttp
import anyio

from meshwalk.backends.openai.assembly import Assembly
from meshwalk.backends.openai.events import Events
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.json_text import NotJsonError, loads, without_last_word
from meshwalk.backends.openai.progress import Progress


RESPONSE_BYTES = 16 << 20
EVENT_STREAM = "text/event-stream"

# The wait for the rest of a stream after its answer has ended: its usage, its last word, its end.
_SETTLE_SECONDS = 1.0
_SETTLE_COUNTED_SECONDS = 0.25

# The first bytes that are no blanks show the kind of an answer, even if its content type says otherwise.
_BLANKS = b" \t\r\n\xef\xbb\xbf"
_EVENT_LINE = re.compile(rb"(?:data|event|id|retry)[ \t]*(?::|[\r\n]|\Z)|:")
_LONGEST_FIELD = 6
_Kind = Literal["json", "stream", "other", ""]


def too_long(faults: Faults) -> Exception:
    """
    Return the error of an answer that is longer than any that is read.
    """
    return faults.malformed(f"it is longer than {RESPONSE_BYTES >> 20} MiB")


class StreamReading:
    """
    The reading of one stream.
    """

    __slots__ = ("_assembly", "_events", "_faults", "_progress", "_response", "_size")

    def __init__(self, response: aiohttp.ClientResponse, assembly: Assembly, progress: Progress, faults: Faults) -> None:
        self._response = response
        self._assembly = assembly
        self._progress = progress
        self._faults = faults
        self._events = Events()
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """
        Add bytes that came.
        """
        self._size += len(chunk)
        if self._size > RESPONSE_BYTES:
            self._response.close()
            raise too_long(self._faults)
        for event in self._events.feed(chunk):
            self._progress.answered()
            self._assembly.feed(event)

    async def read(self) -> bool:
        """
        Read until all samples have ended or nothing more comes, and tell whether the body has ended.
        """
        assembly = self._assembly
        async for chunk in self._response.content.iter_any():
            self.feed(chunk)
            if assembly.done or assembly.complete:
                return False

        return True

    async def settle(self) -> bool:
        """
        Wait a little for what may follow an answer that has ended, and tell whether there is no more to come.
        """
        assembly = self._assembly
        assembly.ended()
        seconds = _SETTLE_COUNTED_SECONDS if assembly.counted else _SETTLE_SECONDS
        with anyio.move_on_after(seconds) as scope:
            async for chunk in self._response.content.iter_any():
                counted = assembly.counted
                self.feed(chunk)
                if assembly.done or not assembly.complete:
                    return False
                if assembly.counted and not counted:
                    scope.deadline = min(scope.deadline, anyio.current_time() + _SETTLE_COUNTED_SECONDS)
        if scope.cancelled_caught:
            self._response.close()

        return True

    def end(self) -> None:
        """
        Process the rest of a body that ended cleanly.
        """
        for event in self._events.end():
            self._progress.answered()
            self._assembly.feed(event)
        if self._events.ran_together:
            self._assembly.mend("events")


def kind_of(body: bytearray, content_type: str, *, ended: bool = False) -> _Kind:
    """
    Return the kind of an answer by its first bytes; empty if those are too few to decide.
    """
    if body[:1] == b"{":
        return "json"
    start = bytes(body[:256]).lstrip(_BLANKS) or bytes(body).lstrip(_BLANKS)
    if not start:
        return "" if not ended else "stream" if content_type == EVENT_STREAM else "other"
    if start[:1] in {b"{", b"["}:
        return "json"
    if len(start) < _LONGEST_FIELD and not ended and not any(char in start for char in b":\r\n"):
        return ""
    if _EVENT_LINE.match(start):
        return "stream"

    return "stream" if content_type == EVENT_STREAM and start[:1] != b"<" else "other"


def whole_answer(body: bytes, assembly: Assembly, faults: Faults) -> object:
    """
    Read a whole answer, behind which some servers write the last word of a stream.
    """
    try:
        value, mended = loads(body)
    except NotJsonError:
        try:
            value, mended = loads(without_last_word(body))
        except NotJsonError:
            raise faults.malformed("it is not JSON") from None
        mended = True
    if mended:
        assembly.mend("json")

    return value
