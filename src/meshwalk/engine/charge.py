"""
What a reply costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshwalk import roles
from meshwalk.backends.base import ChatRequest
from meshwalk.model import MTOK, Price
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
        return usage, 0, "none"

    return usage, price.cost(*usage), basis


def charger(price: Price | None) -> Callable[[Reply, ChatRequest], tuple[Usage, int, Basis]]:
    """
    Prepare to `charge` replies at *price*: most are made for their call, say what they used and leave the cost to us.
    """
    if price is None or price.cached_nano_per_mtok is not None or price.reasoning_nano_per_mtok is not None:
        return lambda reply, asked: charge(price, reply, asked.messages)
    input_price, output_price, _, _ = price
    rounding = MTOK - 1

    def charged(reply: Reply, asked: ChatRequest) -> tuple[Usage, int, Basis]:
        usage = reply.usage
        if usage is None or reply.cost_nano_usd is not None or reply.cache_age_us is not None:
            return charge(price, reply, asked.messages)

        return usage, (usage[0] * input_price + usage[1] * output_price + rounding) // MTOK, "reported"

    return charged


def estimated(sent: Sequence[Message], text: str) -> Usage:
    """
    Estimate the tokens of a call that nobody counted.
    """
    return Usage(sum([roles.estimate_tokens(message.content) for message in sent]), roles.estimate_tokens(text))
