"""
The cost of a reply.
"""

from __future__ import annotations

from meshwalk.backends import estimates
from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.model import Price
from meshwalk.trace import Basis, Reply, Usage


_NOTHING = Usage()


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
