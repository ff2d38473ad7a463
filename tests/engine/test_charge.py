"""
The cost of a reply, and how sure it is.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends import roles
from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.engine.charge import broken_off, charge, charge_at
from meshwalk.mesh import Mesh
from meshwalk.model import Price
from meshwalk.records.hops import hops_of
from meshwalk.trace import Basis, Message, Reply, Request, Usage, decode, encode
from tests.support.plans import plan_of
from tests.support.streaming import Bench, Streamer, pieces


pytestmark = pytest.mark.anyio

PRICE = Price(input_nano_per_mtok=1_000_000_000, output_nano_per_mtok=2_000_000_000)
ODD = Price(input_nano_per_mtok=1, output_nano_per_mtok=1)
CACHED = PRICE._replace(cached_nano_per_mtok=1_000_000)
SENT = ChatRequest((Message("user", "Why?"),))
COUNTED = Usage(3, 4)
ESTIMATED = Usage(roles.estimate_tokens("Why?"), roles.estimate_tokens("So."))


@pytest.mark.parametrize(
    ("price", "reply", "expected"),
    [
        (PRICE, Reply("So.", usage=COUNTED), (COUNTED, 11_000, "reported")),
        (PRICE, Reply("So."), (ESTIMATED, PRICE.cost(*ESTIMATED), "estimated")),
        (PRICE, Reply("So.", usage=COUNTED, cost_nano_usd=7), (COUNTED, 7, "reported")),
        (PRICE, Reply("So.", usage=COUNTED, estimated=True), (COUNTED, 11_000, "estimated")),
        (ODD, Reply("So.", usage=COUNTED), (COUNTED, 1, "reported")),
        (CACHED, Reply("So.", usage=Usage(3, 4, 2)), (Usage(3, 4, 2), 9_002, "reported")),
        (PRICE, Reply("So.", usage=COUNTED, cache_age_us=5), (Usage(), 0, "reported")),
        (PRICE, Reply("So.", usage=COUNTED, cost_nano_usd=7, cache_age_us=5), (Usage(), 0, "reported")),
        (None, Reply("So.", usage=COUNTED, cost_nano_usd=7), (COUNTED, 7, "reported")),
        (None, Reply("So.", usage=COUNTED, cache_age_us=5), (Usage(), 0, "reported")),
        # Something was sent and answered, so this is not "none": there is no price to say what it cost.
        (None, Reply("So.", usage=COUNTED), (COUNTED, 0, "unpriced")),
        (None, Reply("So."), (ESTIMATED, 0, "unpriced")),
    ],
)
def test_cost_has_the_basis_it_rests_on(price: Price | None, reply: Reply, expected: tuple[Usage, int, Basis]) -> None:
    """
    A cost that was stated is reported, one of counted tokens estimated, and one without a price unpriced.

    Parts of a nano-dollar are rounded up, and a reply from a cache costs nothing.
    """
    assert expected == charge(price, reply, SENT)
    assert expected == charge_at(price)(reply, SENT)


@pytest.mark.parametrize(
    ("stated", "tokens", "limit", "expected"),
    [
        (None, 6, None, Usage(ESTIMATED.input_tokens, 6)),
        (Usage(30, 2, 1), 6, None, Usage(30, 6, 1)),
        (Usage(30, 2, 1), 6, 5, Usage(30, 5, 1)),
        (Usage(30, 9, 1), 6, None, Usage(30, 9, 1)),
    ],
)
def test_a_call_that_was_broken_off(stated: Usage | None, tokens: int, limit: int | None, expected: Usage) -> None:
    """
    What was stated last is a floor, what was seen counts beside it, and a limit on the reply bounds that.
    """
    progress = CallProgress()
    progress.usage = stated

    assert expected == broken_off(SENT, progress, tokens, limit)


UNPRICED = plan_of(
    """
    meshwalk: 1
    name: unpriced
    start: ask
    backends: {little: {kind: simulated}}
    nodes:
      ask: {role: primary, backend: little, max_tokens: 5, next: done}
    """
)


async def test_an_answer_without_a_price_is_no_free_one() -> None:
    """
    The record of a walk, its call and its hop say that the cost is not known, also after a trip through the codec.
    """
    async with Mesh(UNPRICED) as mesh:
        traversal = decode(encode((await mesh.walk(Request(SENT.messages))).traversal))
    (hop,) = hops_of(traversal, UNPRICED)

    assert ["unpriced"] * 3 == [traversal.basis, hop.basis, next(traversal.attempts()).basis]
    assert 0 == traversal.cost_nano_usd


STREAMED = plan_of(
    """
    meshwalk: 1
    name: streamed
    start: ask
    budgets: {session: {calls: 5}}
    backends: {little: {kind: simulated, context_tokens: 1000}}
    nodes:
      ask: {role: answer, backend: little, max_tokens: 100, stream: {hold_first: 2}, confidence: {from: mean_token_probability},
        next: [{to: done, when: output.confidence > 0.5}, {to: sorry}]}
      sorry: {role: refusal, reason: no}
    """
)


async def test_a_stopped_stream_without_a_price_is_no_free_one() -> None:
    """
    Tokens that arrived before a call was stopped were sent for, whatever they cost.
    """
    bench = Bench(Streamer([*pieces(0.1, "a ", "b ", "c "), None]), plan=STREAMED)
    await bench.walk()
    (record,) = bench.records

    assert [("cancelled", 0, "unpriced")] == [(one.status, one.cost_nano_usd, one.basis) for one in record.attempts()]


_TOKENS = st.integers(0, 1 << 30)
_RATES = st.integers(0, 10**12)


@given(
    price=st.none() | st.builds(Price, _RATES, _RATES, st.none() | _RATES, st.none() | _RATES, st.none() | _RATES),
    usage=st.none() | st.builds(Usage, _TOKENS, _TOKENS, _TOKENS, _TOKENS, _TOKENS),
    cost=st.none() | _TOKENS,
    age=st.none() | _TOKENS,
    estimated=st.booleans(),
)
def test_prepared_charges_are_the_same(
    price: Price | None, usage: Usage | None, cost: int | None, age: int | None, estimated: bool
) -> None:
    """
    The function that is prepared for a price charges every reply as `charge` does.
    """
    reply = Reply("So.", usage=usage, cost_nano_usd=cost, cache_age_us=age, estimated=estimated)

    assert charge(price, reply, SENT) == charge_at(price)(reply, SENT)
