"""
A machine that drives a vault in step with the pure ledger, and compares what they say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from meshwalk.budgets import AccountReport, Ledger, Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.ledger import KEPT_AFTER_WINDOW_US
from meshwalk.budgets.vaults import Claim, Vault
from meshwalk.budgets.vaults.memory import sort_reports
from meshwalk.model import Amount, Caps, ScopeKind


T = TypeVar("T")

SECOND = 1_000_000
HOUR = 3600 * SECOND
# Far enough ahead that a library which also looks at the real time finds nothing expired, and exact as a double.
BEGINNING_US = 4_000_000_000 * SECOND + 123_457
TENANTS = ("ada", "bob")
NAMES = ("s-1", "", "a b:c", "{x}/y", "q\"'\\", "größe ☃ 漢字", "%2F\n\t", "0", "*?[a]")
IDS = ("h1", "h2", "h:3", "{4} ö", "5")
WINDOWS = (None, 10 * SECOND, HOUR)
PLACES = (SpendPath(), SpendPath("support-desk", "intake → screen"), SpendPath("g", "a/b:c"))


class Clock:
    """
    Tell a time that only a test moves.
    """

    def __init__(self, now: int = BEGINNING_US) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def amounts(most: int) -> st.SearchStrategy[Amount]:
    part = st.one_of(st.just(0), st.integers(0, most))

    return st.builds(Amount, part, part, part, part, part)


def caps() -> st.SearchStrategy[Caps]:
    part = st.one_of(st.none(), st.integers(0, 25))

    return st.builds(Caps, part, part, part, part, part)


def needs() -> st.SearchStrategy[Need]:
    part = st.one_of(st.integers(0, 12), st.integers(0, 12), st.none())

    return st.builds(Need, part, part, part, st.integers(0, 3), st.integers(0, 3))


@st.composite
def scopes(draw: st.DrawFn, tenant: str) -> tuple[Scope, ...]:
    """
    Name one to three scopes of *tenant*, each of another kind.
    """
    kinds: list[ScopeKind] = ["session", "workflow", "tenant"]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True))

    return tuple(
        Scope(tenant, kind, draw(st.sampled_from(NAMES)), draw(st.sampled_from(WINDOWS)), draw(caps())) for kind in chosen
    )


@st.composite
def reservations(draw: st.DrawFn) -> Reservation:
    tenant = draw(st.sampled_from(TENANTS))
    lease_us = draw(st.sampled_from([1, SECOND, 15 * SECOND, 2 * HOUR]))

    return Reservation(draw(st.sampled_from(IDS)), draw(scopes(tenant)), draw(needs()), lease_us, draw(st.sampled_from(PLACES)))


def settlements() -> st.SearchStrategy[Settlement]:
    return st.builds(Settlement, st.sampled_from(TENANTS), st.sampled_from([*IDS, "unknown"]), amounts(20), st.booleans())


class Claims:
    """
    Know who holds each idempotency key, as simply as it can be said.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[Claim, int]] = {}

    def claim(self, now: int, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        kept = self._kept.get((tenant, key))
        if kept is None or kept[1] <= now:
            kept = self._kept[tenant, key] = Claim(owner, fingerprint), now + lease_us

        return kept[0]

    def finish(self, now: int, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        kept = self._kept.get((tenant, key))
        if kept is None or kept[1] <= now or kept[0].owner != owner:
            return
        until = now if result is None else now + keep_us
        self._kept[tenant, key] = kept[0]._replace(result=result), until


class VaultMachine(RuleBasedStateMachine):
    """
    Ask a vault and the pure ledger the same, at the same time, and compare what they say.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.ledger = Ledger()
        self.claims = Claims()
        self._asked: dict[tuple[str, str], Reservation] = {}
        self._charged: set[tuple[str, str]] = set()
        self._stack = ExitStack()
        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal("asyncio"))
        self._doors: Sequence[Vault] = ()

    async def open(self, clock: Clock) -> Sequence[Vault]:
        """
        Open one door or several to new, empty books that go by *clock*.
        """
        raise AssertionError(f"{type(self).__name__} does not say how its vault is opened under {clock}")

    def run(self, ask: Callable[..., Awaitable[T]], *args: Any) -> T:
        """
        Await what *ask* returns, in the event loop where the vault was opened.
        """
        return self._portal.call(ask, *args)

    def teardown(self) -> None:
        try:
            for door in self._doors:
                self.run(door.aclose)
        finally:
            self._stack.close()

    @initialize()
    def begin(self) -> None:
        self._doors = self.run(self.open, self.clock)

    @rule(step=st.sampled_from([0, 1, SECOND, 7 * SECOND, 20 * SECOND, HOUR]))
    def time_passes(self, step: int) -> None:
        self.clock.now += step

    @rule()
    def window_ends(self) -> None:
        self.clock.now = (self.clock.now // (10 * SECOND) + 1) * 10 * SECOND

    @rule(data=st.data(), reservation=reservations(), settlement=st.one_of(st.none(), settlements()))
    def reserve(self, data: st.DataObject, reservation: Reservation, settlement: Settlement | None) -> None:
        key = reservation.scopes[0].tenant, reservation.id
        if settlement is None or (settlement.tenant, settlement.id) != key:
            # One id is one question: while it is held, it is asked again as it was asked.
            reservation = self._asked[key] if key in self.ledger._open else reservation
        self._exchange(data, settlement, reservation)

    @precondition(lambda self: self._asked)
    @rule(data=st.data())
    def hold_again(self, data: st.DataObject) -> None:
        self._exchange(data, None, self._asked[data.draw(st.sampled_from(sorted(self._asked)))])

    @rule(data=st.data(), settlement=settlements())
    def settle(self, data: st.DataObject, settlement: Settlement) -> None:
        self._exchange(data, settlement, None)

    @precondition(lambda self: self.ledger.reservations)
    @rule(data=st.data(), spent=amounts(15), assumed=st.booleans())
    def settle_what_is_held(self, data: st.DataObject, spent: Amount, *, assumed: bool) -> None:
        tenant, id_ = data.draw(st.sampled_from(sorted(self.ledger._open)))
        self._exchange(data, Settlement(tenant, id_, spent, assumed), None)

    @rule(data=st.data(), reservation=reservations(), spent=amounts(20), assumed=st.booleans())
    def charge(self, data: st.DataObject, reservation: Reservation, spent: Amount, *, assumed: bool) -> None:
        key = reservation.scopes[0].tenant, reservation.id
        self.ledger.expire(self.clock.now)
        if key in self._charged and key not in self.ledger._known:
            # How long past its day a vault may know an id is its own business.
            return
        self.ledger.charge(self.clock.now, reservation.id, reservation.scopes, spent, reservation.spend_path, assumed=assumed)
        self._charged.add(key)
        door = self._door(data)

        async def charge() -> None:
            await door.charge(reservation.id, reservation.scopes, spent, reservation.spend_path, assumed=assumed)

        self.run(charge)

    @rule(data=st.data(), tenant=st.sampled_from(TENANTS))
    def balances(self, data: st.DataObject, tenant: str) -> None:
        asked = data.draw(scopes(tenant))

        assert self.ledger.balances(self.clock.now, asked) == self.run(self._door(data).balances, asked)

    @rule(
        data=st.data(),
        tenant=st.sampled_from(TENANTS),
        kind=st.sampled_from(["session", "workflow", "tenant"]),
        name=st.sampled_from(NAMES),
        caps=st.one_of(st.just(Caps()), caps()),
    )
    def set_caps(self, data: st.DataObject, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        self.ledger.set_caps(tenant, kind, name, caps)
        self.run(self._door(data).set_caps, tenant, kind, name, caps)

    @rule(
        data=st.data(),
        tenant=st.sampled_from(TENANTS),
        kind=st.sampled_from([None, None, "session", "workflow", "tenant"]),
        name=st.sampled_from([None, None, *NAMES]),
    )
    def read_statements(self, data: st.DataObject, tenant: str, kind: ScopeKind | None, name: str | None) -> None:
        expected = sort_reports(self.ledger.reports(self.clock.now, tenant), kind, name)
        actual = self.run(self._door(data).reports, tenant, kind, name)

        assert self._kept(expected) == self._kept(actual)

    @rule(
        data=st.data(),
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(["k", "k:2 {ö}"]),
        owner=st.sampled_from(["t1", "t2"]),
        fingerprint=st.sampled_from(["f1", "f2"]),
        lease_us=st.sampled_from([SECOND, HOUR]),
    )
    def claim(self, data: st.DataObject, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> None:
        expected = self.claims.claim(self.clock.now, tenant, key, owner, fingerprint, lease_us)

        assert expected == self.run(self._door(data).claim, tenant, key, owner, fingerprint, lease_us)

    @rule(
        data=st.data(),
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(["k", "k:2 {ö}"]),
        owner=st.sampled_from(["t1", "t2"]),
        result=st.sampled_from([None, b"", b"\x00\xff done"]),
        keep_us=st.sampled_from([SECOND, HOUR]),
    )
    def finish(self, data: st.DataObject, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        self.claims.finish(self.clock.now, tenant, key, owner, result, keep_us)
        self.run(self._door(data).finish, tenant, key, owner, result, keep_us)

    def _door(self, data: st.DataObject) -> Vault:
        return self._doors[data.draw(st.integers(0, len(self._doors) - 1))] if len(self._doors) > 1 else self._doors[0]

    def _exchange(self, data: st.DataObject, settlement: Settlement | None, reservation: Reservation | None) -> None:
        expected = self.ledger.exchange(self.clock.now, settlement, reservation)
        if reservation is not None:
            self._asked[reservation.scopes[0].tenant, reservation.id] = reservation

        assert expected == self.run(self._door(data).exchange, settlement, reservation)

    def _kept(self, reports: Sequence[AccountReport]) -> list[AccountReport]:
        """
        Leave out windows that ended so long ago that a vault may have dropped them.
        """
        since = self.clock.now - KEPT_AFTER_WINDOW_US

        return [one for one in reports if one.window_ends_unix_us is None or one.window_ends_unix_us > since]
