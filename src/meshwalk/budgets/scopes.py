"""
Messages between a walk and a ledger: scopes, reservations, settlements, and reports of accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from meshwalk.model import Amount, AwayPolicy, Caps, ScopeKind
from meshwalk.model.constructors import fast_constructor


class Need(NamedTuple):
    """
    The worst case of a call; None stands for a part that cannot be bounded.
    """

    cost_nano_usd: int | None = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    calls: int | None = 0
    hops: int | None = 0

    @property
    def amount(self) -> Amount:
        """
        Return the amount reserved for it; a part that cannot be bounded reserves nothing.
        """
        return _amount(self if None not in self else [part or 0 for part in self])

    @property
    def bounded(self) -> tuple[bool, ...]:
        """
        Return for each part whether it is bounded.
        """
        return _ALL_BOUNDED if None not in self else tuple(part is not None for part in self)


_amount: Callable[[Iterable[int | None]], Amount] = fast_constructor(Amount)
_ALL_BOUNDED = (True,) * len(Need._fields)


class Scope(NamedTuple):
    """
    An account that a walk draws on, and the caps that the walk's graph puts on it.

    Graphs that count over different windows use different accounts.
    """

    tenant: str
    kind: ScopeKind
    name: str
    window_us: int | None = None
    caps: Caps = Caps()
    away: AwayPolicy = "closed"


class SpendPath(NamedTuple):
    """
    The place of spending in a graph: the nodes visited so far, the last one being the spender.
    """

    graph: str = ""
    path: str = ""


class Reservation(NamedTuple):
    """
    A request to reserve *need* in all of *scopes* at once, for at most *lease_us* from now.

    Repeating a request whose *id* is still reserved is granted and reserves nothing more, so a lost answer can be asked for
    again.  A reservation that is not settled before its lease ends is charged at *need*.
    """

    id: str
    scopes: tuple[Scope, ...]
    need: Need
    lease_us: int
    spend_path: SpendPath = SpendPath()


class Settlement(NamedTuple):
    """
    The end of reservation *id* of *tenant*, with its real spending; ignored if the reservation has ended already.

    Args:
        assumed: Whether *spent* is the worst case, because the real amount is unknown.
    """

    tenant: str
    id: str
    spent: Amount
    assumed: bool = False


make_need: Callable[[tuple[int | None, int | None, int | None, int | None, int | None]], Need] = fast_constructor(Need)
make_reservation: Callable[[tuple[str, tuple[Scope, ...], Need, int, SpendPath]], Reservation] = fast_constructor(Reservation)
make_settlement: Callable[[tuple[str, str, Amount, bool]], Settlement] = fast_constructor(Settlement)


class SpendLine(NamedTuple):
    """
    The spending on one path.
    """

    spend_path: SpendPath
    spent: Amount


class AccountReport(NamedTuple):
    """
    The state of one account, for its operator.

    Args:
        caps: The operator's caps; None leaves a part to the graphs.
        spent: Includes *assumed*.
        reserved: Reserved for calls under way.
        overrun: Charged beyond what was reserved.
        assumed: Charged at the worst case, because the real amount is unknown.
        reservations: The number of open reservations.
        window_ends_unix_us: None for an account without a window.
        lines: The spending by path, the most expensive first.
    """

    tenant: str
    kind: ScopeKind
    name: str
    caps: Caps
    spent: Amount
    reserved: Amount
    overrun: Amount
    assumed: Amount
    reservations: int
    window_us: int | None
    window_ends_unix_us: int | None
    lines: tuple[SpendLine, ...]
