"""
FIFO queues of walks that wait for a settlement in this process, so that they need not poll the vault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import anyio


class FifoWaiters:
    """
    Queues of waiting walks, one for each key.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[anyio.Event]] = {}

    async def wait(self, key: Hashable, seconds: float, *, first: bool = False) -> bool:
        """
        Wait until this walk is woken or *seconds* have passed; return whether it was woken.

        A walk that is woken and gets its budget should call `wake_next`, because there may be enough for another.

        Args:
            first: Join the front of the queue: a walk that was woken in vain keeps its place.
        """
        turn = anyio.Event()
        line = self._lines.setdefault(key, deque())
        if first:
            line.appendleft(turn)
        else:
            line.append(turn)
        taken = False
        try:
            with anyio.move_on_after(seconds):
                await turn.wait()
                taken = True
        finally:
            if not taken:
                self._leave(key, line, turn)

        return taken

    @property
    def has_waiters(self) -> bool:
        """
        Return whether any walk waits, for any key.
        """
        return bool(self._lines)

    def wake_next(self, key: Hashable) -> None:
        """
        Wake the walk that has waited longest for *key*, if there is one.
        """
        line = self._lines.get(key)
        if line:
            line.popleft().set()
            if not line:
                del self._lines[key]

    def _leave(self, key: Hashable, line: deque[anyio.Event], turn: anyio.Event) -> None:
        if turn.is_set():
            # It was woken and is cancelled: the next one gets its turn.
            self.wake_next(key)
            return
        line.remove(turn)
        if not line and self._lines.get(key) is line:
            del self._lines[key]
