"""
How names and numbers are written for the Lua library, and read back.

Names of tenants and scopes come from callers and may hold anything.  They are percent-encoded, so that none of them can end
the hash tag that keeps a tenant's keys in one slot, nor be taken for two names.  Whole numbers are decimal text both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar
from urllib.parse import quote, unquote

from meshwalk.budgets import AccountReport, Balance, Need, Reservation, Scope, Settlement, SpendLine, SpendPath, usd
from meshwalk.budgets.ledger import effective
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import SetupError


# Lua has doubles only, and one less than 2^53 leaves room to tell a sum from a cap that it passes by one.
MOST = 2**53 - 1

_KINDS: dict[str, ScopeKind] = {"session": "session", "workflow": "workflow", "tenant": "tenant"}

Parts = TypeVar("Parts", Amount, Caps, Need)


def mark_of(tenant: str) -> str:
    """
    Name the key that every call for *tenant* declares; the others of the tenant begin like it.
    """
    return f"meshwalk:1:{{tenant={encoded(tenant)}}}:mark"


def encoded(name: str) -> str:
    """
    Write *name* in letters, digits and `_.-~%` only.
    """
    return quote(name, safe="", errors="surrogatepass")


def parts_words(parts: Amount | Caps | Need) -> str:
    """
    Write the parts of an amount, a cap or a need; "-" stands for None.

    Raises:
        SetupError: If one is larger than Redis can count exactly.
    """
    for name, part in zip(parts._fields, parts, strict=True):
        if part is not None and not 0 <= part <= MOST:
            what = type(parts).__name__.lower()
            money = f" ({usd(MOST)} USD)" if name == "cost_nano_usd" else ""
            raise SetupError(
                f"'{name}' of a budget's {what} is {part}, and a vault in Redis counts exactly from 0 to {MOST}{money} only; "
                "use less than that, over a shorter window, or another vault"
            )

    return " ".join("-" if part is None else str(part) for part in parts)


def read_amount(words: bytes) -> Amount:
    """
    Read what `parts_words` or the library wrote.
    """
    return Amount._make(map(int, words.split()))


def read_caps(words: bytes) -> Caps:
    """
    Read an operator's caps; nothing written is no cap.
    """
    return Caps._make(None if word == b"-" else int(word) for word in words.split()) if words else Caps()


def place_words(place: SpendPath) -> str:
    """
    Write *place* so that no other is written alike.
    """
    return f"{len(place.graph)}:{place.graph}{place.path}"


def read_place(words: bytes) -> SpendPath:
    """
    Read what `place_words` wrote.
    """
    length, _, text = words.decode("utf-8", "surrogatepass").partition(":")

    return SpendPath(text[: int(length)], text[int(length) :])


def name_words(kind: ScopeKind, name: str) -> str:
    """
    Name a scope within its tenant.
    """
    return f"{kind}:{encoded(name)}"


def scopes_words(scopes: Sequence[Scope]) -> list[str]:
    """
    Write *scopes* as the library's `scopes` reads them.
    """
    words = [str(len(scopes))]
    for scope in scopes:
        window = "-" if scope.window_us is None else str(scope.window_us)
        words += [name_words(scope.kind, scope.name), window, parts_words(scope.caps)]

    return words


def settlement_words(settlement: Settlement | None) -> list[str]:
    """
    Write *settlement* as the library's `exchange` reads it.
    """
    if settlement is None:
        return ["0"]

    return ["1", settlement.id, parts_words(settlement.spent), "1" if settlement.assumed else "0"]


def hold_words(hold: Reservation | None) -> list[str]:
    """
    Write *hold* as the library's `exchange` reads it.
    """
    if hold is None:
        return ["0"]

    return ["1", hold.id, str(hold.lease_us), parts_words(hold.need), place_words(hold.place), *scopes_words(hold.scopes)]


def read_standings(now: int, scopes: Sequence[Scope], words: Sequence[bytes]) -> tuple[Balance, ...]:
    """
    Read how *scopes* stand: of each, what is spent, what is held, and what an operator set.
    """
    return tuple(
        Balance(
            effective(scope.caps, read_caps(own)),
            read_amount(spent),
            read_amount(held),
            None if scope.window_us is None else scope.window_us - now % scope.window_us,
        )
        for scope, spent, held, own in zip(scopes, words[::3], words[1::3], words[2::3], strict=True)
    )


def read_statement(tenant: str, words: Sequence[bytes], lines: Sequence[bytes]) -> AccountReport:
    """
    Read what an operator sees of one account.
    """
    account, spent, held, overrun, assumed, holds, own = words
    kind, name, window, number = account.decode().split(":")
    window_us = None if window == "-" else int(window)

    return AccountReport(
        tenant=tenant,
        kind=_KINDS[kind],
        name=unquote(name, errors="surrogatepass"),
        caps=read_caps(own),
        spent=read_amount(spent),
        held=read_amount(held),
        overrun=read_amount(overrun),
        assumed=read_amount(assumed),
        holds=int(holds),
        window_us=window_us,
        window_ends_unix_us=None if window_us is None else (int(number) + 1) * window_us,
        lines=_in_order(
            SpendLine(read_place(place), read_amount(sums)) for place, sums in zip(lines[::2], lines[1::2], strict=True)
        ),
    )


def _in_order(lines: Iterable[SpendLine]) -> tuple[SpendLine, ...]:
    return tuple(sorted(lines, key=lambda line: (*(-part for part in line.spent), line.place)))
