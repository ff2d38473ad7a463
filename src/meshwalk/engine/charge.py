"""
What a reply costs.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshwalk.backends import roles
from meshwalk.model import Price
from meshwalk.trace import Basis, Message, Reply, Usage


_NOTHING = Usage()


def charge(price: Price | None, reply: Reply, sent: Sequence[Message]) -> tuple[Usage, int, Basis]:
    """
    Return the tokens that *reply* to *sent* used, its cost in nano-dollars, and how sure that is.
    """
    if reply.cache_age_us is not None:
        # Nobody was asked, so nobody is paid.
        return _NOTHING, 0, "reported"
    usage = reply.usage
    basis: Basis = "reported"
    if usage is None:
        usage, basis = estimated(sent, reply.text), "estimated"
    if reply.cost_nano_usd is not None:
        return usage, reply.cost_nano_usd, "reported"
    if price is None:
        return usage, 0, "unpriced"

    return usage, price.cost(*usage), basis


def estimated(sent: Sequence[Message], text: str) -> Usage:
    """
    Estimate the tokens of a call that nobody counted.
    """
    return Usage(sum([roles.estimate_tokens(message.content) for message in sent]), roles.estimate_tokens(text))
