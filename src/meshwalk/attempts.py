"""
The calls of one hop, as a pure machine: when to try, when to try again, when to stop.

The engine makes the calls and says how each ended; the machine answers with the next `Try` or with `Closed`.  All attempts
share the hop's deadline; the walk sees one closing entry with the list of them.  Only what may go better the next
time is tried again: a backend that refused the request or gave a malformed answer would do so twice.

Laws of this room:

1. There are never more attempts than `retries` + 1.
2. No attempt starts at or past the hop's deadline, nor with less than the node's `min_time` left.
3. A try after the first is made only once the ledger has granted it (`denied` closes the hop with class `budget`).
"""

from __future__ import annotations

from typing import NamedTuple

from meshwalk.model import Node
from meshwalk.problems import ErrorClass


RETRIABLE: frozenset[ErrorClass] = frozenset({"rate_limited", "overloaded", "unreachable", "timeout"})


class Try(NamedTuple):
    """
    Ask for a call, the *number*-th from 0, done by *deadline_at*.
    """

    number: int
    deadline_at: int


class Closed(NamedTuple):
    """
    End the hop; an empty *error_class* says that the last attempt worked.
    """

    error_class: ErrorClass | None = None
    message: str = ""


class Attempts:
    """
    Decide on the calls of one hop at *node*.
    """

    __slots__ = ("_attempt_timeout_us", "_deadline_at", "_left", "_made", "_min_time_us", "_name")

    def __init__(self, node: Node, deadline_at: int) -> None:
        self._name = node.name
        self._min_time_us = node.min_time_us
        self._attempt_timeout_us = node.attempt_timeout_us
        self._deadline_at = deadline_at
        self._left = node.retries
        self._made = 0

    def start(self, at: int) -> Try | Closed:
        """
        Begin the first call, which was granted at *at*.
        """
        return self._late(at) or self._next(at)

    def granted(self, at: int) -> Try | Closed:
        """
        Take that the ledger granted a further call at *at*, from where its time counts.
        """
        return self._late(at) or Try(self._made - 1, self._ends(at))

    def worked(self) -> Closed:
        """
        Take that the call gave a reply.
        """
        return Closed()

    def failed(self, at: int, error_class: ErrorClass, message: str) -> Try | Closed:
        """
        Take that the call ended with *error_class* at *at*.
        """
        if error_class not in RETRIABLE or self._left == 0 or self._late(at):
            return Closed(error_class, message)
        self._left -= 1

        return self._next(at)

    def denied(self, message: str) -> Closed:
        """
        Take that the ledger did not grant a further call.
        """
        return Closed("budget", message)

    def _next(self, at: int) -> Try:
        number, self._made = self._made, self._made + 1

        return Try(number, self._ends(at))

    def _ends(self, at: int) -> int:
        own = self._attempt_timeout_us

        return self._deadline_at if own is None else min(self._deadline_at, at + own)

    def _late(self, at: int) -> Closed | None:
        left = self._deadline_at - at
        if left <= 0:
            return Closed("timeout", f"time was up before node '{self._name}' could be called")
        if left < self._min_time_us:
            needs = f"{self._min_time_us / 1e6:g} s"
            return Closed("not_started", f"node '{self._name}' needs {needs} (min_time) and {left / 1e6:g} s are left")

        return None
