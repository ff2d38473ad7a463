"""
Encoding of arguments for the Lua library, and decoding of its answers.

Names of tenants and scopes come from callers and may contain any character.  They are percent-encoded, so that a name can
neither end the hash tag that keeps a tenant's keys in one slot nor be read as two names.  Whole numbers are decimal text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar
from urllib.parse import quote, unquote

from meshwalk.budgets import AccountReport, Balance, Need, Reservation, Scope, Settlement, SpendLine, SpendPath, usd
from meshwalk.budgets.ledger import effective_caps
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import SetupError


# Lua has doubles only; with 2^53 - 1 as the largest number, a sum that exceeds a cap by one is still exact.
MAX_VALUE = 2**53 - 1

_KINDS: dict[str, ScopeKind] = {"session": "session", "workflow": "workflow", "tenant": "tenant"}

Parts = TypeVar("Parts", Amount, Caps, Need)


def mark_key(tenant: str) -> str:
    """
    Return the key that every call for *tenant* declares; the tenant's other keys share its prefix.
    """
    return f"meshwalk:1:{{tenant={encode_name(tenant)}}}:mark"


def encode_name(name: str) -> str:
    """
    Encode *name* in letters, digits and `_.-~%`.
    """
    return quote(name, safe="", errors="surrogatepass")


def parts_words(parts: Amount | Caps | Need) -> str:
    """
    Encode the parts of an amount, caps or a need; "-" stands for None.

    Raises:
        SetupError: If a part is larger than Redis can count exactly.
    """
    for name, part in zip(parts._fields, parts, strict=True):
        if part is not None and not 0 <= part <= MAX_VALUE:
            what = type(parts).__name__.lower()
            money = f" ({usd(MAX_VALUE)} USD)" if name == "cost_nano_usd" else ""
            raise SetupError(
                f"'{name}' of a budget's {what} is {part}, and a vault in Redis counts exactly from 0 to {MAX_VALUE}{money} "
                "only; use less than that, over a shorter window, or another vault"
            )

    return " ".join("-" if part is None else str(part) for part in parts)


def read_amount(words: bytes) -> Amount:
    """
    Decode what `parts_words` or the library has encoded.
    """
    return Amount._make(map(int, words.split()))


def read_caps(words: bytes) -> Caps:
    """
    Decode an operator's caps; empty text stands for none.
    """
    return Caps._make(None if word == b"-" else int(word) for word in words.split()) if words else Caps()


def spend_path_words(spend_path: SpendPath) -> str:
    """
    Encode *spend_path* unambiguously.
    """
    return f"{len(spend_path.graph)}:{spend_path.graph}{spend_path.path}"


def read_spend_path(words: bytes) -> SpendPath:
    """
    Decode what `spend_path_words` has encoded.
    """
    length, _, text = words.decode("utf-8", "surrogatepass").partition(":")

    return SpendPath(text[: int(length)], text[int(length) :])


def name_words(kind: ScopeKind, name: str) -> str:
    """
    Return the name of a scope within its tenant.
    """
    return f"{kind}:{encode_name(name)}"


def scopes_words(scopes: Sequence[Scope]) -> list[str]:
    """
    Write *scopes* as the library's `scopes` reads them.
    """
    words = [str(len(scopes))]
    for scope in scopes:
        window = "-" if scope.window_us is None else str(scope.window_us)
        words += [name_words(scope.kind, scope.name), window, parts_words(scope.caps)]

    return words


def settlement_words(settlement: Settlement) -> list[str]:
    """
    Encode *settlement* for `settle` of the library.
    """
    return [settlement.id, parts_words(settlement.spent), "1" if settlement.assumed else "0"]


def exchange_words(settlement: Settlement | None, reservation: Reservation) -> list[str]:
    """
    Encode both for `exchange` of the library.
    """
    return [
        *(["0"] if settlement is None else ["1", *settlement_words(settlement)]),
        reservation.id,
        str(reservation.lease_us),
        parts_words(reservation.need),
        spend_path_words(reservation.spend_path),
        *scopes_words(reservation.scopes),
    ]


def read_balances(now_us: int, scopes: Sequence[Scope], words: Sequence[bytes]) -> tuple[Balance, ...]:
    """
    Decode the balances of *scopes*: for each, the amounts spent and reserved, and the operator's caps.
    """
    return tuple(
        Balance(
            effective_caps(scope.caps, read_caps(operator_caps)),
            read_amount(spent),
            read_amount(reserved),
            None if scope.window_us is None else scope.window_us - now_us % scope.window_us,
        )
        for scope, spent, reserved, operator_caps in zip(scopes, words[::3], words[1::3], words[2::3], strict=True)
    )


def read_report(tenant: str, words: Sequence[bytes], lines: Sequence[bytes]) -> AccountReport:
    """
    Decode the report of one account.
    """
    account, spent, reserved, overrun, assumed, reservations, operator_caps = words
    kind, name, window, number = account.decode().split(":")
    window_us = None if window == "-" else int(window)

    return AccountReport(
        tenant=tenant,
        kind=_KINDS[kind],
        name=unquote(name, errors="surrogatepass"),
        caps=read_caps(operator_caps),
        spent=read_amount(spent),
        reserved=read_amount(reserved),
        overrun=read_amount(overrun),
        assumed=read_amount(assumed),
        reservations=int(reservations),
        window_us=window_us,
        window_ends_unix_us=None if window_us is None else (int(number) + 1) * window_us,
        lines=_sort_lines(
            SpendLine(read_spend_path(spend_path), read_amount(sums))
            for spend_path, sums in zip(lines[::2], lines[1::2], strict=True)
        ),
    )


def _sort_lines(lines: Iterable[SpendLine]) -> tuple[SpendLine, ...]:
    return tuple(sorted(lines, key=lambda line: (*(-part for part in line.spent), line.spend_path)))
