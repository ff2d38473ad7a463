"""
The queue between those who record and a thread that does something with it: bounded, and counting what it loses.

Who records only puts a traversal here; whatever takes longer is the thread's, which takes them in batches.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Generic, Literal, TypeVar


OnFull = Literal["drop", "block"]

_Item = TypeVar("_Item")


class RecordQueue(Generic[_Item]):
    """
    Hold traversals until they are taken.

    Args:
        capacity: How many it holds; one more is dropped and counted, or waits until there is room.
        linger: How many seconds a lone traversal waits for company.
        batch: How many are taken at once, and so many wait for no more.
    """

    def __init__(self, capacity: int, on_full: OnFull, *, linger: float, batch: int) -> None:
        self.dropped = 0
        self._linger = linger
        self._batch = batch
        self._capacity = capacity
        self._blocks = on_full == "block"
        self._items: deque[_Item] = deque()
        self._accepted = 0
        self._finished = 0
        self._closing = False
        self._hurry = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def put(self, item: _Item) -> None:
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
            # Whoever takes them sleeps only before the first item, and lingers only while a batch is not full.
            if len(self._items) in (1, self._batch) or self._full:
                self._filled.notify()

    def take(self) -> list[_Item]:
        """
        Wait for items and take a batch of them; none are left and none will come if it is empty.
        """
        with self._filled:
            self._filled.wait_for(lambda: self._items or self._closing)
            self._filled.wait_for(
                lambda: self._hurry or self._closing or self._full or len(self._items) >= self._batch, self._linger
            )
            self._hurry = False
            batch = [self._items.popleft() for _ in range(min(len(self._items), self._batch))]
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


class LossLog:
    """
    Log the first loss of a burst; a burst is over when a batch goes by without one.
    """

    def __init__(self, log: logging.Logger, message: str) -> None:
        self._log = log
        self._message = message
        self._seen = 0
        self._going = False

    def tell(self, lost: int, why: str = "", error: BaseException | None = None) -> None:
        """
        Take that *lost* traversals are lost so far; the log tells *why*, and where an *error* comes from.
        """
        new = lost > self._seen
        if new and not self._going:
            told = f"{self._message} ({lost} so far)" + (f": {why}" if why else "")
            self._log.warning("%s", told, exc_info=error, extra={"meshwalk.lost": lost})
        self._going, self._seen = new, lost
