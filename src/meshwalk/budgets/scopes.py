"""
What is said between a walk and the books: which accounts it draws on, what it holds, what it spent, and what it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from meshwalk.model import Amount, AwayPolicy, Caps, ScopeKind


class Need(NamedTuple):
    """
    State a call's worst case; None cannot be bounded.
    """

    cost_nano_usd: int | None = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    calls: int | None = 0
    hops: int | None = 0

    @property
    def amount(self) -> Amount:
        """
        Return what is held for it: what cannot be bounded and is not capped holds nothing.
        """
        return _amount(self if None not in self else [part or 0 for part in self])

    @property
    def bounded(self) -> tuple[bool, ...]:
        """
        Tell of each part whether it is bounded.
        """
        return _ALL_BOUNDED if None not in self else tuple(part is not None for part in self)


_amount: Callable[[Iterable[int | None]], Amount] = partial(tuple.__new__, Amount)
_ALL_BOUNDED = (True,) * len(Need._fields)


class Scope(NamedTuple):
    """
    Name an account that a walk draws on, and the caps that its graph puts on it.

    Two graphs that count over different windows count in different accounts.
    """

    tenant: str
    kind: ScopeKind
    name: str
    window_us: int | None = None
    caps: Caps = Caps()
    away: AwayPolicy = "closed"


class SpendPath(NamedTuple):
    """
    Say where in a graph money goes: the nodes visited so far, the last being the one that spends.
    """

    graph: str = ""
    path: str = ""


class Reservation(NamedTuple):
    """
    Ask to hold *need* in all of *scopes* at once, for *lease_us* from now at most.

    Asking again with the same *id* while it holds is granted and holds nothing more, so that a lost answer can be asked for
    again.  What is not settled before its lease ends is charged at *need*.
    """

    id: str
    scopes: tuple[Scope, ...]
    need: Need
    lease_us: int
    place: SpendPath = SpendPath()


class Settlement(NamedTuple):
    """
    Replace what the hold *id* of *tenant* holds by what was really spent; one that holds nothing any more is passed over.

    Args:
        assumed: Whether *spent* is the worst case, because nobody knows.
    """

    tenant: str
    id: str
    spent: Amount
    assumed: bool = False


# Each walk makes several; the constructors that take the fields one by one need twice the time.
make_need: Callable[[tuple[int | None, int | None, int | None, int | None, int | None]], Need] = partial(tuple.__new__, Need)
make_hold: Callable[[tuple[str, tuple[Scope, ...], Need, int, SpendPath]], Reservation] = partial(tuple.__new__, Reservation)
make_settlement: Callable[[tuple[str, str, Amount, bool]], Settlement] = partial(tuple.__new__, Settlement)


class SpendLine(NamedTuple):
    """
    Say what was spent at one place.
    """

    place: SpendPath
    spent: Amount


class AccountReport(NamedTuple):
    """
    Show one account to its operator.

    Args:
        caps: What an operator set; None leaves a part to the graphs.
        spent: With what was assumed.
        held: What is reserved for calls under way.
        overrun: What was charged beyond what was reserved.
        assumed: What was charged at its worst, because nobody knows.
        holds: How many reservations there are.
        window_ends_unix_us: None if it counts for ever.
        lines: Where it was spent, the dearest first.
    """

    tenant: str
    kind: ScopeKind
    name: str
    caps: Caps
    spent: Amount
    held: Amount
    overrun: Amount
    assumed: Amount
    holds: int
    window_us: int | None
    window_ends_unix_us: int | None
    lines: tuple[SpendLine, ...]
