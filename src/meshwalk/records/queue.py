"""
A bounded queue between the recording of traversals and the thread that writes or sends them; losses are counted.

Recording only appends an item; the thread takes items in batches and does the slow work.
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
    Items waiting for the thread that takes them.

    Args:
        capacity: The number of items at most; a further one is dropped and counted, or waits for space.
        linger_seconds: The seconds that an incomplete batch waits for more items.
        batch: The number of items taken at once; a full batch does not linger.
    """

    def __init__(self, capacity: int, on_full: OnFull, *, linger_seconds: float, batch: int) -> None:
        self.dropped = 0
        self._linger_seconds = linger_seconds
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
        Append *item*, or count it as dropped; if a full queue blocks, wait for space first.
        """
        with self._filled:
            while self._blocks and self._full and not self._closing:
                self._press()
            if self._closing or self._full:
                self.dropped += 1
                return
            self._items.append(item)
            self._accepted += 1
            # The thread sleeps only before the first item, and lingers only until a batch is full.
            if len(self._items) in (1, self._batch) or self._full:
                self._filled.notify()

    def take(self) -> list[_Item]:
        """
        Wait for items and return a batch; an empty one means that the queue is closed and drained.
        """
        with self._filled:
            self._filled.wait_for(lambda: self._items or self._closing)
            self._filled.wait_for(
                lambda: self._hurry or self._closing or self._full or len(self._items) >= self._batch, self._linger_seconds
            )
            self._hurry = False
            batch = [self._items.popleft() for _ in range(min(len(self._items), self._batch))]
            self._emptied.notify_all()

        return batch

    def finish(self, count: int) -> None:
        """
        Report that *count* items are written or given up.
        """
        with self._filled:
            self._finished += count
            self._emptied.notify_all()

    def wait(self) -> None:
        """
        Block until every item put so far is finished.
        """
        with self._filled:
            target = self._accepted
            while self._finished < target:
                self._press()

    def close(self) -> None:
        """
        Accept no more items, and let the thread drain the queue.
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
    A log of losses, with a line when a burst begins, one when it is over, and one with their sum in the end.

    A burst ends with a batch without a loss.

    Attributes:
        going: Whether a burst goes on.
    """

    def __init__(self, log: logging.Logger, message: str) -> None:
        self._log = log
        self._message = message
        self._seen = 0
        self._before = 0
        self.going = False

    def update(self, lost: int, why: str = "", error: BaseException | None = None) -> None:
        """
        Report that *lost* traversals are lost so far; the line includes *why* and the traceback of *error*.
        """
        new = lost > self._seen
        if new and not self.going:
            self._before = self._seen
            text = f"{self._message} ({lost} so far)" + (f": {why}" if why else "")
            self._log.warning("%s", text, exc_info=error, extra={"meshwalk.lost": lost})
        elif self.going and not new:
            burst = self._seen - self._before
            text = "nothing is lost any more (%s): %d were lost, %d so far"
            self._log.warning(text, self._message, burst, lost, extra={"meshwalk.lost": lost})
        self.going, self._seen = new, lost

    def close(self) -> None:
        """
        Report the losses of all the time, if there were any.
        """
        if self._seen:
            self._log.warning("%d were lost in all (%s)", self._seen, self._message, extra={"meshwalk.lost": self._seen})
