"""
Replies that their callers have not read: bounded in bytes and in time.

gRPC holds what it cannot write, because the caller takes nothing more, until the connection ends.  So replies are counted here
before they are written, and one past the bound is not written at all: its caller gets an error instead, and the record of the
walk is kept.
"""

from __future__ import annotations

import asyncio
from typing import Any

from meshwalk.model.problems import ReplyUnread


# Of one server process, and of one connection.
MAX_UNREAD_BYTES = 128 << 20
MAX_UNREAD_BYTES_OF_CONNECTION = 64 << 20

# The time that a caller has to take a message of a stream.
UNREAD_SECONDS = 60.0

# A smaller reply is not counted: it fits what gRPC sends before the caller takes anything.
COUNTED_BYTES = 64 << 10

UNREAD = "too much is waiting to be read: read replies as they come; the walk's record is kept, and it is charged"


class Unread:
    """
    The replies of one server process that are not read.
    """

    def __init__(
        self,
        max_bytes: int = MAX_UNREAD_BYTES,
        *,
        of_connection: int = MAX_UNREAD_BYTES_OF_CONNECTION,
        seconds: float = UNREAD_SECONDS,
    ) -> None:
        self._max_bytes = max_bytes
        self._of_connection = of_connection
        self._seconds = seconds
        self._bytes = 0
        self._by_peer: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Unread: {self._bytes} bytes>"

    def take(self, peer: str, size: int) -> bool:
        """
        Count *size* bytes more for the connection of *peer*, for which `give` is to be called; False if there is no room.
        """
        of_peer = self._by_peer.get(peer, 0) + size
        if self._bytes + size > self._max_bytes or of_peer > self._of_connection:
            return False
        self._bytes += size
        self._by_peer[peer] = of_peer

        return True

    def give(self, peer: str, size: int) -> None:
        """
        Count *size* bytes less.
        """
        self._bytes -= size
        left = self._by_peer.get(peer, 0) - size
        if left:
            self._by_peer[peer] = left
        else:
            self._by_peer.pop(peer, None)

    def give_when_done(self, context: Any, peer: str, size: int) -> None:
        """
        Count *size* bytes less when the call of *context* is done.
        """
        context.add_done_callback(lambda _: self.give(peer, size))

    def hold(self, context: Any, size: int) -> None:
        """
        Count *size* bytes until the call of *context* is done.

        Raises:
            ReplyUnread: If there is no room.
        """
        peer = context.peer()
        if not self.take(peer, size):
            raise ReplyUnread(UNREAD)
        self.give_when_done(context, peer, size)

    async def write(self, context: Any, message: Any) -> None:
        """
        Write a message of a stream.

        Raises:
            ReplyUnread: If there is no room for it, or the caller does not take it in time.
        """
        size = len(message) if isinstance(message, bytes) else message.ByteSize()
        if size < COUNTED_BYTES:
            await self.written(context, message)
            return
        peer = context.peer()
        if not self.take(peer, size):
            raise ReplyUnread(UNREAD)
        try:
            await self.written(context, message)
        except ReplyUnread:
            # gRPC still has it.
            self.give_when_done(context, peer, size)
            raise
        except BaseException:
            self.give(peer, size)
            raise
        self.give(peer, size)

    async def written(self, context: Any, message: Any) -> None:
        """
        Write a message of a stream that is counted already, or too small for it.

        Raises:
            ReplyUnread: If the caller does not take it in time.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await context.write(message)
        except TimeoutError:
            why = f"the reply was not read for {self._seconds:g} s; the walk's record is kept, and it is charged"
            raise ReplyUnread(why) from None
