"""
The messages of a pool that lets a call in nowhere: the limit that is exceeded, and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple


class Refused(NamedTuple):
    """
    The refusal of a call by every endpoint.

    Args:
        retry_after_us: When it may go better; None if that is not known.
    """

    error_class: Literal["overloaded", "rate_limited", "unreachable"]
    message: str
    retry_after_us: int | None = None


def queue_full(name: str, under_way: int, waiting: int) -> Refused:
    """
    Return the refusal of a full queue.
    """
    many = f"has {_calls(under_way)} under way and {waiting} waiting, as many as it may have"
    remedy = "raise `concurrency` or the `length` of `queue`, or give the node an on_error edge for overloaded"

    return Refused("overloaded", f"backend '{name}' {many}; {remedy}")


def no_place(name: str, under_way: int) -> Refused:
    """
    Return the refusal of a call that has waited long enough for a place.
    """
    remedy = "raise `concurrency` or the `wait` of `queue`, or give the node an on_error edge for overloaded"

    return Refused("overloaded", f"backend '{name}' had no place in time, with {_calls(under_way)} under way; {remedy}")


def none_well(name: str, endpoints: Sequence[str], probe_us: int | None) -> Refused:
    """
    Return the refusal when every endpoint is left alone.
    """
    which = f" (endpoints {', '.join(endpoints)})" if len(endpoints) > 1 else ""
    when = "a call is finding out whether it is back" if probe_us is None else f"it is probed from {_seconds(probe_us)} on"
    remedy = "give the node an on_error edge for unreachable"

    return Refused("unreachable", f"backend '{name}' is left alone after its failures{which}; {when}; {remedy}", probe_us)


def resting(name: str, endpoint: str, rest_class: str, wait_us: int) -> Refused:
    """
    Return the refusal when an endpoint asked to be left alone for longer than the call can wait.
    """
    error_class: Literal["overloaded", "rate_limited"] = "overloaded" if rest_class == "overloaded" else "rate_limited"
    which = f" (endpoint {endpoint})" if endpoint else ""
    remedy = f"call it less often, or give the node an on_error edge for {error_class}"

    return Refused(error_class, f"backend '{name}'{which} asked to be left alone for {_seconds(wait_us)}; {remedy}", wait_us)


def limited(name: str, key: str, per_minute: int, wait_us: int, waiting: int) -> Refused:
    """
    Return the refusal when an allowance is used up for longer than the call can wait.
    """
    behind = f" behind the {_calls(waiting)} waiting" if waiting else ""
    when = f"has room for this one{behind} in {_seconds(wait_us)}"
    remedy = f"raise `{key}`, or give the node an on_error edge for rate_limited"

    return Refused("rate_limited", f"backend '{name}' may have {per_minute} {_said(key)} and {when}; {remedy}", wait_us)


def _said(key: str) -> str:
    return key.replace("_", " ").replace("per", "a")


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def _seconds(us: int) -> str:
    return f"{max(us, 0) / 1e6:.3g} s"
