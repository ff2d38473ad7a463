"""
Bounds of walks: the limits of one, and the budgets that many share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple, Self

from meshwalk.model.arguments import checked_request, count_fault, dollars_fault, seconds_fault
from meshwalk.model.constructors import fast_constructor
from meshwalk.model.problems import Span
from meshwalk.model.values import AwayPolicy, ScopeKind


URGENCY_DEADLINES_US: Mapping[str, int] = {"realtime": 2_000_000, "interactive": 30_000_000, "batch": 600_000_000}
DEFAULT_HOPS = 16
DEFAULT_INPUT_BYTES = 1 << 20

# The most messages of a request, the most elements of any other repeated field or map, and the most fields of a request with
# those of its messages.  Decoding and judging a request that keeps them takes some hundredths of a second.
MAX_MESSAGES = 4_096
MAX_ELEMENTS = 1_024
MAX_REQUEST_FIELDS = 40_000

# Guards may match an attribute against patterns, and each record holds it.
MAX_ATTRIBUTE_CHARACTERS = 4_096

# A scope's name becomes a key in records and vaults; a longer one is a mistake.
SCOPE_CHARACTERS = 256

# The most that many walks may share.  Redis counts in doubles: every whole nano-dollar up to here is one of its own, and
# counts stay far below what a double holds exactly.
MAX_SHARED_USD = 9_000_000
MAX_SHARED_COUNT = 10**15


class Limits(NamedTuple):
    """
    The limits of one walk; None is no limit.
    """

    hops: int | None = None
    deadline_us: int | None = None
    cost_nano_usd: int | None = None
    input_bytes: int | None = None
    output_tokens: int | None = None
    input_tokens: int | None = None
    calls: int | None = None

    @classmethod
    def of(
        cls,
        *,
        hops: int | None = None,
        deadline: timedelta | float | None = None,
        cost_usd: float | Decimal | None = None,
        input_bytes: int | None = None,
        output_tokens: int | None = None,
        input_tokens: int | None = None,
        calls: int | None = None,
    ) -> Self:
        """
        Return limits from a *deadline* in seconds or as a timedelta, and a cost in dollars.
        """
        checked_request(
            deadline="" if deadline is None else seconds_fault(deadline),
            cost_usd="" if cost_usd is None else dollars_fault(cost_usd),
            **{
                name: count_fault(value)
                for name, value in (
                    ("hops", hops),
                    ("input_bytes", input_bytes),
                    ("output_tokens", output_tokens),
                    ("input_tokens", input_tokens),
                    ("calls", calls),
                )
                if value is not None
            },
        )
        seconds = deadline.total_seconds() if isinstance(deadline, timedelta) else deadline

        return cls(
            hops=hops,
            deadline_us=None if seconds is None else round(seconds * 1e6),
            # A decimal of the text that a float prints as is the number that was meant.
            cost_nano_usd=None if cost_usd is None else round(Decimal(str(cost_usd)) * 1_000_000_000),
            input_bytes=input_bytes,
            output_tokens=output_tokens,
            input_tokens=input_tokens,
            calls=calls,
        )


class Amount(NamedTuple):
    """
    The use of calls: money in whole nano-dollars, tokens, model calls, and hops.
    """

    cost_nano_usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    hops: int = 0

    # Each walk adds and subtracts often; spelt out, that is twice as fast as going through the parts.

    def plus(self, other: Amount) -> Amount:
        """
        Add *other*, part by part.
        """
        cost, incoming, outgoing, calls, hops = other

        return _amount((self[0] + cost, self[1] + incoming, self[2] + outgoing, self[3] + calls, self[4] + hops))

    def less(self, other: Amount) -> Amount:
        """
        Subtract *other*, part by part.
        """
        cost, incoming, outgoing, calls, hops = other

        return _amount((self[0] - cost, self[1] - incoming, self[2] - outgoing, self[3] - calls, self[4] - hops))


_amount: Callable[[tuple[int, int, int, int, int]], Amount] = fast_constructor(Amount)


class Caps(NamedTuple):
    """
    A cap for each part of an `Amount`; None is no cap.
    """

    cost_nano_usd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    calls: int | None = None
    hops: int | None = None


# The default used share from which guards see pressure.
PRESSURE_FROM = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    The caps on all walks of one scope together; the caller says which scope a walk is in.

    Args:
        window_us: How long one count lasts, aligned to the Unix epoch; None counts for ever.
        pressure_from: The used share from which `budget.<scope>.pressure` rises above 0.
        required: Whether a request must name the scope; one that need not, and does not, is not capped by it.
        away: What holds while the vault does not answer: nothing is granted, everything is, or each server counts for itself.
        places: The place of each value the author wrote, by its key.
    """

    scope: ScopeKind
    span: Span
    caps: Caps
    window_us: int | None = None
    pressure_from: float = PRESSURE_FROM
    required: bool = False
    away: AwayPolicy = "closed"
    places: Mapping[str, Span] = field(default_factory=dict)
