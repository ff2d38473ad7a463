"""
Where walks wait until another one of this process has settled, so that nobody asks a vault again and again in vain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import anyio


class FifoWaiters:
    """
    Let walks wait in line for a key.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[anyio.Event]] = {}

    async def wait(self, key: Hashable, seconds: float, *, first: bool = False) -> bool:
        """
        Wait until it is this walk's turn, or *seconds* have passed; return whether it was called.

        Whoever is called and then finds what it waited for should `ring` for the next, since there may be more.

        Args:
            first: Go before all others: whoever was called and found too little does not lose its place to them.
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
    def waited(self) -> bool:
        """
        Tell whether anybody waits, for whatever key.
        """
        return bool(self._lines)

    def ring(self, key: Hashable) -> None:
        """
        Call the one who has waited longest for *key*, if anybody waits.
        """
        line = self._lines.get(key)
        if line:
            line.popleft().set()
            if not line:
                del self._lines[key]

    def _leave(self, key: Hashable, line: deque[anyio.Event], turn: anyio.Event) -> None:
        if turn.is_set():
            # It was called and does not come: the turn is the next one's.
            self.ring(key)
            return
        line.remove(turn)
        if not line and self._lines.get(key) is line:
            del self._lines[key]
