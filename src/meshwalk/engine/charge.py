"""
The cost of a reply.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshwalk.backends import estimates
from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.model import MTOK, Price
from meshwalk.trace import Basis, Reply, Usage


Charge = Callable[[Reply, ChatRequest], tuple[Usage, int, Basis]]

_NOTHING = Usage()
_NO_OTHER_RATES = (None, None, None, ())


def charge(price: Price | None, reply: Reply, sent: ChatRequest) -> tuple[Usage, int, Basis]:
    """
    Return the tokens that *reply* to *sent* used, its cost in nano-dollars, and how sure that is.
    """
    if reply.cache_age_us is not None:
        # Nobody was asked, so nobody is paid.
        return _NOTHING, 0, "reported"
    usage = reply.usage
    basis: Basis = "estimated" if reply.estimated else "reported"
    if usage is None:
        usage, basis = Usage(estimates.input_tokens(sent.messages, sent.form), estimates.output_tokens(reply)), "estimated"
    if reply.cost_nano_usd is not None:
        return usage, reply.cost_nano_usd, "reported"
    if price is None:
        return usage, 0, "unpriced"

    return usage, price.cost(*usage), basis


def charge_at(price: Price | None) -> Charge:
    """
    Return a function that charges as `charge` does at *price*, prepared for replies that state their usage and nothing else.
    """
    if price is None or price[2:] != _NO_OTHER_RATES:
        return partial(charge, price)
    input_rate, output_rate = price.input_nano_per_mtok, price.output_nano_per_mtok

    def charged(reply: Reply, sent: ChatRequest) -> tuple[Usage, int, Basis]:
        usage = reply.usage
        if usage is None or reply.cost_nano_usd is not None or reply.cache_age_us is not None:
            return charge(price, reply, sent)
        cost_nano_usd = -(-(usage[0] * input_rate + usage[1] * output_rate) // MTOK)

        return usage, cost_nano_usd, "estimated" if reply.estimated else "reported"

    return charged


def broken_off(sent: ChatRequest, progress: CallProgress, tokens: int, limit: int | None) -> Usage:
    """
    Return the tokens of a call that ended before its reply did.

    Args:
        tokens: How many tokens of the reply were seen, piece by piece.
        limit: How many it may have had at most.
    """
    stated = progress.usage
    if stated is None:
        return Usage(estimates.input_tokens(sent.messages, sent.form), tokens)
    seen = max(stated.output_tokens, tokens if limit is None else min(tokens, limit))

    return stated._replace(output_tokens=seen)
