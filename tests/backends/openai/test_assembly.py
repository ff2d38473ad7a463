from __future__ import annotations

import json
import math
from typing import Any

import anyio
import pytest
from aiohttp import web

from meshwalk.backends.openai import RESPONSE_BYTES
from meshwalk.model.private_text import disclosed_error
from meshwalk.model.problems import Malformed
from meshwalk.trace import Usage
from tests.backends.chat_endpoint import ASK, KEY, answer, endpoint, fails, says


pytestmark = pytest.mark.anyio


class TestReply:
    async def test_it_has_text_usage_reason_and_model(self) -> None:
        """
        What the endpoint says of an answer is in the reply.
        """
        async with endpoint(says()) as backend:
            reply = await backend.chat(ASK)

        assert ("Four.", Usage(9, 2), "stop") == (reply.text, reply.usage, reply.finish_reason)
        assert ("large-1-2026", False, None) == (reply.model, reply.simulated, reply.probabilities)

    async def test_what_it_does_not_say_is_filled_in(self) -> None:
        """
        An answer without usage, reason and model has stopped, is the model's that was asked, and its tokens are an estimate.
        """
        async with endpoint(says({"choices": [{"message": {"content": "Four."}}]})) as backend:
            reply = await backend.chat(ASK._replace(probabilities=True))

        assert ("stop", "large-1", None) == (reply.finish_reason, reply.model, reply.probabilities)
        assert (Usage(7, 2), True, ("finish_reason",)) == (reply.usage, reply.estimated, reply.mended)

    async def test_a_content_filter_is_a_finish_reason(self) -> None:
        """
        An answer that was cut by a filter is still an answer.
        """
        async with endpoint(says(answer(choice={"finish_reason": "content_filter"}))) as backend:
            assert "content_filter" == (await backend.chat(ASK)).finish_reason

    async def test_a_tool_call_needs_no_text(self) -> None:
        """
        A message that calls tools is empty text with its reason and the calls; what a call lacks is made up.
        """
        calls = [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": '}},
            {"function": {"name": "wait", "arguments": {"s": 1}}},
            {"id": "c3", "function": {"name": "stop"}},
        ]
        choice = {"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}
        async with endpoint(says(answer(choice=choice))) as backend:
            reply = await backend.chat(ASK)

        assert ("", "tool_calls") == (reply.text, reply.finish_reason)
        assert [("look", '{"at": '), ("wait", '{"s":1}'), ("stop", "{}")] == [call[1:3] for call in reply.tool_calls]
        assert ["c1", "c3"] == [call.id for call in reply.tool_calls if call.name != "wait"]
        assert reply.tool_calls[1].id.startswith("call_")
        assert ("tool_calls",) == reply.mended

    async def test_the_function_of_old_is_a_tool(self) -> None:
        """
        A server from before there were tools names one function; text beside it is kept.
        """
        message = {"content": "Let me see.", "function_call": {"name": "look", "arguments": "{}"}}
        async with endpoint(says(answer(choice={"message": message}))) as backend:
            reply = await backend.chat(ASK)

        assert ("Let me see.", [("look", "{}")]) == (reply.text, [call[1:3] for call in reply.tool_calls])

    async def test_samples_are_all_there(self) -> None:
        """
        Of several samples the first is the text, in the order that the endpoint numbers them; one without a text is empty.
        """
        texts = [(2, None), (0, "Four."), (1, "Five.")]
        body = answer(choices=[{"index": index, "message": {"content": text}} for index, text in texts])
        async with endpoint(says(body)) as backend:
            several, one = await backend.chat(ASK._replace(samples=3)), await backend.chat(ASK)

        assert ("Four.", ("Four.", "Five.", "")) == (several.text, several.samples)
        assert ("Four.", ()) == (one.text, one.samples)

    @pytest.mark.parametrize(
        ("details", "cached", "reasoning"),
        [
            ({"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}}, 4, 1),
            ({"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 6}, 3, 0),
            ({"prompt_tokens_details": {"cached_tokens": 99}, "completion_tokens_details": {"reasoning_tokens": 2}}, 9, 2),
            ({"prompt_tokens_details": {"cached_tokens": -1}, "completion_tokens_details": {"reasoning_tokens": "x"}}, 0, 0),
            ({"prompt_tokens_details": None, "completion_tokens_details": []}, 0, 0),
        ],
    )
    async def test_what_is_cheaper_or_dearer_is_told_apart(self, details: dict[str, Any], cached: int, reasoning: int) -> None:
        """
        Cached and reasoned tokens are parts of what was counted, and never more than all of it.
        """
        async with endpoint(says(answer(usage={"prompt_tokens": 9, "completion_tokens": 2} | details))) as backend:
            assert Usage(9, 2, cached, reasoning) == (await backend.chat(ASK)).usage

    async def test_token_probabilities_are_summed_up(self) -> None:
        """
        Mean and minimum are of the chosen tokens, the margin is between the two likeliest.
        """

        def token(chosen: float, *tops: float) -> dict[str, Any]:
            return {"logprob": math.log(chosen), "top_logprobs": [{"logprob": math.log(top)} for top in tops]}

        content = [token(0.9, 0.9, 0.05), token(0.2, 0.6, 0.2), token(0.4)]
        async with endpoint(says(answer(choice={"logprobs": {"content": content}}))) as backend:
            found = (await backend.chat(ASK._replace(probabilities=True))).probabilities

        assert found is not None
        assert pytest.approx((0.5, 0.2, 0.625)) == tuple(found)

    async def test_probabilities_stay_within_bounds(self) -> None:
        """
        A log-probability above zero by rounding is certainty, minus infinity's stand-in is none, one choice has no margin.
        """
        content = [{"logprob": 1e-6}, {"logprob": -9999.0, "top_logprobs": None}]
        async with endpoint(says(answer(choice={"logprobs": {"content": content}}))) as backend:
            found = (await backend.chat(ASK._replace(probabilities=True))).probabilities

        assert (0.5, 0.0, None) == found


class TestMalformed:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("not json", "it is not JSON"),
            ('{"choices": NaN}', "it has no choice with a message"),
            ("[]", "it has no choice with a message"),
            ('{"choices": []}', "it has no choice with a message"),
            ('{"choices": [{"message": "text"}]}', "it has no choice with a message"),
            (json.dumps(answer(choice={"message": {"content": None}})), "its message has no text"),
            (json.dumps(answer(choice={"message": {"tool_calls": [{"id": "1"}]}})), "names no tool"),
            (json.dumps(answer(choice={"message": {"tool_calls": "look"}})), "its tool calls are none"),
            (json.dumps(answer(choice={"message": {"tool_calls": [{"function": {"name": ""}}]}})), "names no tool"),
            (
                json.dumps(answer(choice={"message": {"tool_calls": [{"function": {"name": "f", "arguments": 3}}]}})),
                "arguments of one of its tool calls are no text",
            ),
            (
                json.dumps(answer(choice={"message": {"content": ["part"]}})),
                "its content is neither a text nor a list of parts",
            ),
        ],
    )
    async def test_an_answer_that_cannot_be_read_may_have_cost(self, body: str, words: str) -> None:
        """
        Whatever stands in an answer of status 200, the error is ours, says why, and is billable.
        """
        async with endpoint(says(text=body)) as backend:
            error = await fails(backend, ASK._replace(probabilities=True))

        assert ("malformed", True) == (error.error_class, error.billable)
        assert words in disclosed_error(error)

    @pytest.mark.parametrize(
        ("error", "error_class"),
        [
            ({"code": 429}, "rate_limited"),
            ({"code": "rate_limit_exceeded"}, "rate_limited"),
            ({"type": "insufficient_quota"}, "rate_limited"),
            ({"code": 502}, "overloaded"),
            ({"type": "overloaded_error"}, "overloaded"),
            ({"type": "server_error", "code": None}, "overloaded"),
            ({"code": 400, "type": "invalid_request_error"}, "refused_by_model"),
            ({"code": "context_length_exceeded"}, "too_long"),
            ({}, "overloaded"),
        ],
    )
    async def test_an_error_in_place_of_an_answer_has_a_class(self, error: dict[str, Any], error_class: str) -> None:
        """
        A gateway that says 200 and sends its provider's error is understood by the error; it costs nothing.
        """
        async with endpoint(says({"error": error | {"message": f"no {KEY}"}})) as backend:
            found = await fails(backend)

        assert (error_class, False) == (found.error_class, found.billable)
        assert "no [key]" in disclosed_error(found)

    async def test_another_content_type_is_no_answer(self) -> None:
        """
        A page from a proxy is not taken for an answer.
        """
        async with endpoint(says(text="<html>", content_type="text/html")) as backend:
            error = await fails(backend)

        assert "its content type is 'text/html' and not JSON" in disclosed_error(error)

    async def test_a_models_refusal_is_a_refusal(self) -> None:
        """
        A message that holds a refusal instead of text has the class for it.
        """
        async with endpoint(says(answer(choice={"message": {"content": None, "refusal": "No."}}))) as backend:
            error = await fails(backend)

        assert ("refused_by_model", True) == (error.error_class, error.billable)

    async def test_an_endless_answer_is_cut_off(self) -> None:
        """
        Reading stops at the bound, and the connection is closed so that the server stops too.
        """
        stopped = anyio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            try:
                while True:
                    await response.write(b" " * (1 << 20))
            finally:
                stopped.set()

        async with endpoint(handler) as backend:
            error = await fails(backend)
            with anyio.fail_after(5):
                await stopped.wait()

        assert Malformed is type(error)
        assert f"longer than {RESPONSE_BYTES >> 20} MiB" in disclosed_error(error)
