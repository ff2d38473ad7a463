"""
The calls of one hop, as a pure machine: when to try, when to try again or beside, when to stop.

The engine makes the calls and says how each ended; the machine answers with the next `Try`, with `Closed`, or with nothing
while another call of the hop is still under way.  All attempts share the hop's deadline; the walk sees one closing entry
with the list of them.  Only what may go better the next time is tried again: a backend that refused the request or gave a
malformed answer would do so twice.

A retry waits a random time up to a bound that doubles with each retry, so that those who failed together do not come back
together ("Exponential Backoff And Jitter", full jitter; Brooker, AWS Architecture Blog), and never less than the backend asks
for.  It waits for neither where another endpoint can take it at once.  A hedge is a second call beside a slow first one
("The Tail at Scale", Dean and Barroso): whichever replies first is the hop's reply.

Invariants:

1. There are never more attempts than `retries` + 1, one more with `hedge`, and one more for each endpoint that is at fault
   itself; they are numbered in the order asked for.
2. No attempt starts at or past the hop's deadline, nor with less than the node's `min_time` left.
3. A try after the first is made only once the ledger has granted it; at most one is asked for at a time.
4. A retry waits at most the longest of its backoff's bound, which never takes more than half of the time that is left, and
   what the backend asked for.  Where that leaves too little time the hop closes at once, and says so.
5. The hop goes on while a call of it is under way: the last to fail decides on retries.
"""

from __future__ import annotations

from typing import NamedTuple

from meshwalk.model import Node
from meshwalk.model.private_text import joined
from meshwalk.model.problems import ErrorClass


RETRIABLE: frozenset[ErrorClass] = frozenset({"rate_limited", "overloaded", "unreachable", "timeout"})


class Try(NamedTuple):
    """
    The command to make a call, the *number*-th from 0, by *deadline_at_us*.

    Args:
        not_before_us: When it may begin; 0 is at once.
        hedge: Whether it runs beside the one under way.
    """

    number: int
    deadline_at_us: int
    not_before_us: int = 0
    hedge: bool = False


class Closed(NamedTuple):
    """
    The end of the hop; an empty *error_class* says that an attempt worked.
    """

    error_class: ErrorClass | None = None
    message: str = ""


class Attempts:
    """
    The decisions on the calls of one hop at *node*.
    """

    __slots__ = ("_deadline_at_us", "_failure", "_hedge_at_us", "_made", "_node", "_retried", "_under_way", "_wanted")

    def __init__(self, node: Node, deadline_at_us: int) -> None:
        self._node = node
        self._deadline_at_us = deadline_at_us
        self._made = 0
        self._retried = 0
        # A mask with one bit for each call.
        self._under_way = 0
        # A further call that the ledger has not answered for yet.
        self._wanted: Try | None = None
        self._hedge_at_us: int | None = None
        # The end of the first call while its hedge was asked for, and whether a retry could have followed.
        self._failure: tuple[Closed, bool] | None = None

    @property
    def hedge_at_us(self) -> int | None:
        """
        Return when a second call may be asked for beside the first, if that is still under way; None is never.
        """
        return self._hedge_at_us

    def start(self, at_us: int) -> Try | Closed:
        """
        Begin the first call, which was granted at *at_us*.
        """
        late = self._late(at_us)
        if late is not None:
            return late
        hedge_us = self._node.hedge_us
        if hedge_us is not None and self._late(at_us + hedge_us) is None:
            self._hedge_at_us = at_us + hedge_us
        self._under_way, self._made = 1, 1

        return Try(0, self._ends(at_us))

    def hedge(self, at_us: int) -> Try | None:
        """
        Ask for a call beside the first, whose delay is over at *at_us*; None if there is none to be made.
        """
        due, self._hedge_at_us = self._hedge_at_us, None
        if due is None or self._late(at_us) is not None:
            return None

        return self._ask(Try(self._made, self._ends(at_us), hedge=True))

    def granted(self, number: int, at_us: int) -> Try | Closed | None:
        """
        Begin a further call that the ledger granted at *at_us*, from which its time counts; None leaves the first to go on.

        A hedge that was granted too late is not made, and the hop is not over for that.
        """
        wanted = self._answered(number)
        begins = max(at_us, wanted.not_before_us)
        late = self._late(begins)
        if late is None:
            self._under_way |= 1 << number
            return wanted._replace(deadline_at_us=self._ends(begins))
        if not wanted.hedge:
            return late

        return None if self._failure is None else self._failure[0]

    def denied(self, number: int, message: str) -> Closed | None:
        """
        Give up a further call that the ledger refused; None leaves the first to go on.
        """
        wanted = self._answered(number)
        if wanted.hedge and self._failure is None:
            return None
        if self._failure is not None and not self._failure[1]:
            return self._failure[0]

        return Closed("budget", message)

    def worked(self, number: int) -> Closed:
        """
        Close with the reply of a call, which is the hop's.
        """
        self._under_way &= ~(1 << number)
        self._hedge_at_us = None

        return Closed()

    def failed(  # noqa: PLR0913 (all that a call that failed tells)
        self,
        number: int,
        at_us: int,
        error_class: ErrorClass,
        message: str,
        *,
        retry_after_us: int | None = None,
        elsewhere: bool = False,
        chance: float = 0.0,
        final: bool = False,
        at_fault: bool = False,
    ) -> Try | Closed | None:
        """
        Handle a call that failed with *error_class* at *at_us*; None if another one is still under way.

        Args:
            retry_after_us: How long the backend asks to be left alone.
            elsewhere: Whether another endpoint of the backend can take the call at once, so that nothing is waited for.
            chance: Where in its bound the backoff falls, in 0..1.
            final: Whether a further call would end in the same way for a long while.
            at_fault: Whether the endpoint is at fault, and not the request, so that another one is asked whatever is final.
        """
        self._under_way &= ~(1 << number)
        self._hedge_at_us = None
        if self._under_way:
            return None
        closed = Closed(error_class, message)
        other = at_fault and elsewhere
        may = other or (not final and error_class in RETRIABLE and self._retried < self._node.retries)
        again = may and self._late(at_us) is None
        if self._wanted is not None:
            self._failure = (closed, again)
            return None
        if not again:
            return closed
        wait_us = 0 if elsewhere else max(retry_after_us or 0, int(chance * self._longest_backoff_us(at_us)))
        if self._late(at_us + wait_us) is not None:
            asks = retry_after_us is not None and wait_us <= retry_after_us
            retry = "the retry it asks for in" if asks else "a retry after a pause of"
            return Closed(error_class, joined(message, f"; {retry} {wait_us / 1e6:.3g} s would come too late"))
        if not other:
            self._retried += 1

        return self._ask(Try(self._made, self._ends(at_us + wait_us), at_us + wait_us))

    def _ask(self, step: Try) -> Try:
        self._wanted = step
        self._made += 1

        return step

    def _answered(self, number: int) -> Try:
        wanted, self._wanted = self._wanted, None
        assert wanted is not None, "no further call was asked for"
        assert wanted.number == number, f"call {wanted.number} was asked for, not call {number}"

        return wanted

    def _longest_backoff_us(self, at_us: int) -> int:
        first_us, max_us = self._node.backoff
        # A pause that leaves no time for the call it is for would be worse than none.
        spare_us = self._deadline_at_us - at_us - self._node.min_time_us

        return min(max_us, first_us << self._retried, spare_us // 2)

    def _ends(self, at_us: int) -> int:
        timeout_us = self._node.attempt_timeout_us

        return self._deadline_at_us if timeout_us is None else min(self._deadline_at_us, at_us + timeout_us)

    def _late(self, at_us: int) -> Closed | None:
        left, node = self._deadline_at_us - at_us, self._node
        if left <= 0:
            return Closed("timeout", f"time was up before node '{node.name}' could be called")
        if left < node.min_time_us:
            needs = f"{node.min_time_us / 1e6:g} s"
            return Closed("not_started", f"node '{node.name}' needs {needs} (min_time) and {left / 1e6:g} s are left")

        return None
