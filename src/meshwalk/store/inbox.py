"""
The queue between those who record and the one thread that writes: bounded, and counting.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from meshwalk.plan import Plan
from meshwalk.trace import Traversal


OnFull = Literal["drop", "block"]
Item = tuple[Traversal, Plan]

# How long the writer waits for company before it commits a lone traversal.
LINGER_SECONDS = 0.1

# One transaction's worth, so that other writers of the file get their turn.
BATCH = 1_000


class Inbox:
    """
    Hold traversals until they are written.
    """

    def __init__(self, capacity: int, on_full: OnFull) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._blocks = on_full == "block"
        self._items: deque[Item] = deque()
        self._accepted = 0
        self._finished = 0
        self._closing = False
        self._hurry = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def put(self, item: Item) -> None:
        """
        Take *item*, or count it as dropped; where a full inbox blocks, wait for room first.
        """
        with self._filled:
            while self._blocks and self._full and not self._closing:
                self._press()
            if self._closing or self._full:
                self.dropped += 1
                return
            self._items.append(item)
            self._accepted += 1
            # The writer sleeps only before the first item, and lingers only while there is room.
            if len(self._items) == 1 or self._full:
                self._filled.notify()

    def take(self) -> list[Item]:
        """
        Wait for items and take a batch of them; none are left and none will come if it is empty.
        """
        with self._filled:
            self._filled.wait_for(lambda: self._items or self._closing)
            self._filled.wait_for(lambda: self._hurry or self._closing or self._full, LINGER_SECONDS)
            self._hurry = False
            batch = [self._items.popleft() for _ in range(min(len(self._items), BATCH))]
            self._emptied.notify_all()

        return batch

    def finish(self, count: int) -> None:
        """
        Take that *count* items are written, or given up.
        """
        with self._filled:
            self._finished += count
            self._emptied.notify_all()

    def wait(self) -> None:
        """
        Return when everything put so far is finished.
        """
        with self._filled:
            target = self._accepted
            while self._finished < target:
                self._press()

    def close(self) -> None:
        """
        Take no more, and let the writer come to its end.
        """
        with self._filled:
            self._closing = True
            self._filled.notify()
            self._emptied.notify_all()

    @property
    def _full(self) -> bool:
        return len(self._items) >= self._capacity

    def _press(self) -> None:
        self._hurry = True
        self._filled.notify()
        self._emptied.wait()
