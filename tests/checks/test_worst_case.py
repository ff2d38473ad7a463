"""
What one call may need: the bound holds for every request that is admitted, and windows are kept.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk import prompts
from meshwalk.checks import worst_case
from meshwalk.model import Node, Price, Sampling, Value
from meshwalk.model.problems import InputTooLarge
from meshwalk.plan import Plan
from meshwalk.trace import Facts, Message, ReplyOptions, Request, Tool
from meshwalk.walk.admission import Admission
from tests.support.plans import plan_of
from tests.support.random_plans import plans


TEXT = """
    meshwalk: 1
    name: g
    start: ask
    limits: {input_bytes: 100}
    request:
      tone: {type: string, enum: [dry, "größer"]}
      pages: {type: number, default: 1}
      draft: {type: bool, default: true}
      title: {type: string, default: none}
    backends: {b: {kind: simulated, context_tokens: 200, usd_per_mtok: {input: 1, output: 2}}}
    nodes:
      ask: {role: answer, backend: b, max_tokens: 50, next: done}
"""
PLAN = plan_of(TEXT)
ASK = PLAN.node("ask")


class TestNeed:
    def test_by_hand(self) -> None:
        """
        Bytes and sixteen a message bound the input, max_tokens the output, and the price is of both.
        """
        assert (116 * 1000 + 50 * 2000, 116, 50) == ASK.need(Facts((), 100, 1))

    @pytest.mark.parametrize(("asked", "outputs"), [(None, 200), (10, 10), (10_000, 200)])
    def test_window_holds_whatever_a_caller_asks_for(self, asked: int | None, outputs: int) -> None:
        """
        A node that leaves max_tokens to its callers is bounded by the window, also where a caller asks for more.
        """
        free = worst_case.Bounder(replace(ASK.node, sampling=Sampling()), ASK.price, ASK.context_tokens)

        assert outputs == free(Facts((), 100, 1, Sampling(max_tokens=asked)))[2]

    @given(
        st.builds(Price, st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.integers(0, 10**9)) | st.none(),
        st.none() | st.integers(1, 500),
        st.sampled_from([ASK.node, replace(ASK.node, sampling=Sampling())]),
        st.builds(
            Facts, st.just(()), st.integers(0, 400), st.integers(1, 4), st.builds(Sampling, st.none() | st.integers(1, 99))
        ),
    )
    def test_working_out_once_changes_nothing(
        self, price: Price | None, context_tokens: int | None, node: Node, facts: Facts
    ) -> None:
        """
        What a plan works out once for all requests bounds each of them as if nothing had been.
        """
        assert worst_case.need(node, price, context_tokens, facts) == worst_case.Bounder(node, price, context_tokens)(facts)

    @pytest.mark.parametrize(("asked", "filled"), [(None, 166), (10, 126), (90, 166)])
    def test_window(self, asked: int | None, filled: int) -> None:
        """
        What a call may fill is its input and its reply, which a caller may only shorten.
        """
        assert filled == worst_case.window(ASK.node, Facts((), 100, 1, Sampling(max_tokens=asked)))

    def test_window_of_a_reply_that_nothing_bounds(self) -> None:
        """
        Where nobody says how long a reply may be, it needs room for a token.
        """
        assert 117 == worst_case.window(replace(ASK.node, sampling=Sampling()), Facts((), 100, 1))


class TestForm:
    @pytest.mark.parametrize(
        ("schema", "tokens"),
        [
            # The most that one of six models' templates was measured to make of them, each line by line.
            ({"enum": list(range(10)) * 100}, 4126),
            ({"default": [[0] * 30] * 30}, 3846),
        ],
    )
    def test_numbers_in_a_schema_are_bounded_as_templates_write_them(self, schema: dict[str, Any], tokens: int) -> None:
        """
        A template puts blanks or a line's end behind each comma and bracket, so that a digit may become four tokens.
        """
        text = json.dumps({"type": "object", "properties": {"a": schema}}, separators=(",", ":"))

        assert tokens <= worst_case.form_bytes(ReplyOptions((Tool("f", "", text),)))


class TestLargest:
    @given(plan=plans(), data=st.data())
    def test_no_admitted_request_needs_more(self, plan: Plan, data: st.DataObject) -> None:
        """
        However a request spreads its bytes over messages, what is admitted needs no more than one message of all bytes.
        """
        sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=40))
        request = Request((Message("user", "?"), *(Message("user", "x" * size) for size in sizes)))
        largest = worst_case.largest_facts(plan.graph)
        try:
            facts, _ = Admission(plan).admit(request)
        except InputTooLarge:
            return

        for node in plan.nodes:
            assert worst_case.input_tokens(node.node, facts) <= worst_case.input_tokens(node.node, largest)

    def test_many_messages_count(self) -> None:
        """
        A message after the first counts sixteen bytes beside its own, and the refusal says so.
        """
        admission = Admission(PLAN)
        fits = (Message("user", "x" * 68), *[Message("assistant", "")] * 2)

        assert 68 == admission.admit(Request(fits))[0].input_bytes
        with pytest.raises(InputTooLarge, match=r"are 69 bytes of UTF-8 \(101 counted, 16 more for each message after"):
            admission.admit(Request((Message("user", "x" * 69), *fits[1:])))

    @pytest.mark.parametrize("name", ["tone", "pages", "draft"])
    def test_bounded_attributes_are_at_their_longest(self, name: str) -> None:
        """
        An attribute that a prompt quotes is counted as long as it can get, in bytes.
        """
        longest = dict(worst_case.largest_facts(PLAN.graph).attributes)
        values: dict[str, Value] = {"tone": "größer", "pages": -1.7e308, "draft": False}
        template = f"{{{{ request.{name} }}}}"
        (message,) = prompts.render(template, (), {name: values[name]})

        assert len(message.content.encode()) <= prompts.bound_bytes(template, 0, 0, longest)

    def test_unbounded_words_are_named_once(self) -> None:
        """
        Only text without an enum has any length.
        """
        node = replace(ASK.node, prompt="{{ request.title }} {{ request.tone }} {{ request.title }} {{ prompt }}")

        assert ("request.title",) == worst_case.unbounded_words(PLAN.graph, node)


class TestLeast:
    @pytest.mark.parametrize(
        ("sampling", "allowed", "outputs"),
        [("max_tokens: 50, ", "[max_tokens]", 50), ("", "[max_tokens]", 1), ("", "[seed]", 200)],
    )
    def test_a_stated_length_stands(self, sampling: str, allowed: str, outputs: int) -> None:
        """
        What the author states is reserved; where only callers may say it, they may say one.
        """
        text = TEXT.replace("max_tokens: 50, ", sampling).replace("name: g", f"name: g\n    sampling: {allowed}")
        plan = plan_of(text)
        node = plan.node("ask")

        assert outputs == node.need(worst_case.min_facts(plan.graph, node.node))[2]
