"""
What a request's calls send, counted: each node's own text, and no text twice.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from meshwalk.backends.token_counts import count_inputs
from meshwalk.backends.tokenizer import open_tokenizer
from meshwalk.checks import worst_case
from meshwalk.trace import Facts, Message, ReplyOptions, ResponseFormat, Tool, ToolCall
from tests.support.plans import plan_of
from tests.support.tokenizer import trained


PLAN = plan_of("""
    meshwalk: 1
    name: g
    start: sort
    request: {tone: {type: string, enum: [dry, warm], default: dry}}
    backends:
      one: {kind: simulated, context_tokens: 60, usd_per_mtok: {input: 1, output: 2}}
      two: {kind: simulated}
      free: {kind: simulated}
    nodes:
      sort: {role: classifier, use: features, next: first}
      first: {role: answer, backend: one, max_tokens: 9, next: [{to: done, when: fits.one}, {to: second}]}
      second:
        role: answer
        backend: one
        max_tokens: 9
        prompt: "be {{ request.tone }}: {{ prompt }}"
        next: [{to: done, when: "output.finish_reason == 'stop'"}, {to: third}]
      third:
        role: answer
        backend: two
        max_tokens: 9
        next: [{to: done, when: "output.finish_reason == 'stop'"}, {to: fourth}]
      fourth: {role: primary, backend: free, max_tokens: 9, next: done}
""")
MESSAGES = (Message("system", "be brief"), Message("user", "what is a walk?", "ada"))
ATTRIBUTES = {"tone": "dry"}


class Words:
    """
    Count words, and how often each text was asked for.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, text: str) -> int:
        self.asked[text] += 1
        return len(text.split())


class TestCountInputs:
    def test_each_node_s_own_text(self) -> None:
        """
        A node sends the messages with their names, or its prompt filled in; only nodes with a tokenizer are counted.
        """
        counted = count_inputs(PLAN, {"one": Words()}, MESSAGES, ATTRIBUTES)

        assert (("first", 2 + 4 + 1), ("second", 2 + 4)) == counted

    def test_no_text_is_counted_twice(self) -> None:
        """
        Nodes and backends that share a tokenizer share its counts.
        """
        words = Words()
        count_inputs(PLAN, {"one": words, "two": words}, (*MESSAGES, MESSAGES[0]), ATTRIBUTES)

        assert {1} == set(words.asked.values())
        assert {"be brief", "what is a walk?", "ada", "be dry: what is a walk?"} == set(words.asked)

    def test_tokenizers_are_kept_apart(self) -> None:
        """
        Two tokenizers count the same text each in its own way.
        """
        counted = count_inputs(PLAN, {"one": Words(), "two": len}, MESSAGES, ATTRIBUTES)

        assert {"first": 7, "second": 6, "third": 8 + 15 + 3} == dict(counted)

    def test_nothing_to_count(self) -> None:
        """
        Without tokenizers nothing is counted.
        """
        assert () == count_inputs(PLAN, {}, MESSAGES, ATTRIBUTES)


class TestForm:
    def test_it_goes_with_the_callers_own_messages(self) -> None:
        """
        Tools and schemas count by their bytes where the caller's messages are sent, and not where a node asks its own.
        """
        form = ReplyOptions((Tool("look", "See.", "{}"),), response_format=ResponseFormat("json_schema", "x", "{}"))
        talk = (*MESSAGES, Message("assistant", "", tool_calls=(ToolCall("c1", "look", "{}"),)))
        counted = dict(count_inputs(PLAN, {"one": Words()}, talk, ATTRIBUTES, form))
        plain = dict(count_inputs(PLAN, {"one": Words()}, MESSAGES, ATTRIBUTES))

        assert worst_case.form_bytes(form) + worst_case.tool_bytes(talk[-1]) == counted["first"] - plain["first"]
        assert plain["second"] == counted["second"]


class TestNeeds:
    def test_a_count_stands_for_the_bytes(self) -> None:
        """
        A counted input is bounded by its tokens and what a template may add to each message; another by its bytes.
        """
        facts = Facts((("tone", "dry"),), 26, 2, counted=(("first", 7), ("second", 6)))

        assert 7 + 2 * 16 == worst_case.input_tokens(PLAN.node("first").node, facts)
        assert 6 + 16 == worst_case.input_tokens(PLAN.node("second").node, facts)
        assert 26 + 2 * 16 == worst_case.input_tokens(PLAN.node("third").node, facts)

    @pytest.mark.parametrize(("counted", "fits"), [((), False), ((("first", 7), ("second", 6)), True)])
    def test_a_count_makes_room(self, counted: tuple[tuple[str, int], ...], fits: bool) -> None:
        """
        A request whose bytes do not surely fit a window may be known to fit by its count.
        """
        facts = Facts((("tone", "dry"),), 26, 2, counted=counted)

        assert [fits] == [held for _, held in PLAN.fitting(facts)]

    def test_the_window_caps_a_count(self) -> None:
        """
        No call sends more than its window, whatever is counted.
        """
        facts = Facts((), 26, 2, counted=(("first", 500),))

        assert 60 == PLAN.node("first").need(facts)[1]

    def test_a_real_tokenizer_tightens_the_bound(self, tmp_path: Path) -> None:
        """
        What a tokenizer counts is a tighter bound than bytes are.
        """
        count = open_tokenizer(trained(tmp_path))
        text = "the next hop of the walk takes the next edge"
        facts = Facts((("tone", "dry"),), len(text), 1)
        counted = count_inputs(PLAN, {"two": count}, (Message("user", text),), ATTRIBUTES)
        node = PLAN.node("third").node

        assert worst_case.input_tokens(node, facts._replace(counted=counted)) < worst_case.input_tokens(node, facts)
