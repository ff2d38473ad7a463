"""
Answers that keep to the protocol to the letter: the short reading gives the reply that the full one gives, or leaves it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.backends.openai.assembly import Assembly
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.plain import plain_reply
from meshwalk.backends.secrets import Secrets
from meshwalk.trace import Message, Timing


ASK = ChatRequest((Message("user", "Four and five?"),))
FAULTS = Faults("large", "", "m-1", secrets=Secrets(), key_env="")
COUNT = st.one_of(st.integers(0, 40), st.just(True), st.none())
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.sampled_from(["Nine.", "é", " ", "", None, 5])},
    optional={"tool_calls": st.sampled_from([None, [], ["x"]]), "reasoning": st.just("hm"), "refusal": st.none()},
)
CHOICES = st.fixed_dictionaries(
    {"index": st.sampled_from([0, 1]), "message": MESSAGES, "finish_reason": st.sampled_from(["stop", "length", "eos", None])},
    optional={"logprobs": st.none(), "error": st.sampled_from([None, {"code": 500, "message": "boom"}])},
)
USAGES = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"prompt_tokens": COUNT, "completion_tokens": COUNT},
        optional={"total_tokens": COUNT, "prompt_tokens_details": st.just({"cached_tokens": 3})},
    ),
    st.tuples(st.integers(1, 40), st.integers(1, 40)).map(
        lambda pair: {"prompt_tokens": pair[0], "completion_tokens": pair[1], "total_tokens": sum(pair)}
    ),
)
ANSWERS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2), "usage": USAGES, "model": st.sampled_from(["m-1", "m-2", ""])},
    optional={"object": st.sampled_from(["chat.completion", "error"]), "error": st.just("boom"), "created": st.just(1)},
)
GOOD: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Nine."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 240, "completion_tokens": 16, "total_tokens": 256},
}


def fully_read(answer: Any) -> Any:
    assembly = Assembly(ASK, CallProgress(), None, backend="large", model="m-1", faults=FAULTS)
    assembly.take_whole(answer)

    return assembly.reply(Timing())


@given(ANSWERS)
def test_the_short_reading_is_the_full_one(answer: dict[str, Any]) -> None:
    """
    Whatever it takes for plain is the same reply, with nothing mended.
    """
    reply = plain_reply(answer, "m-1", Timing())

    assert reply is None or reply == fully_read(answer)


def test_a_plain_answer_is_read_the_short_way() -> None:
    """
    An answer as the protocol has it is one of them.
    """
    assert fully_read(GOOD) == plain_reply(GOOD, "m-1", Timing())
