from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.roles import complexity, estimate_tokens, features
from meshwalk.model.signals import FEATURES
from meshwalk.trace import Message


def number(text: str, feature: str) -> float:
    value = features([Message("user", text)])[feature]
    assert isinstance(value, float)

    return value


MESSAGES = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text()), max_size=4)


class TestFeatures:
    @given(MESSAGES)
    def test_every_declared_feature_lies_in_its_range(self, messages: list[Message]) -> None:
        """
        For any messages the features are those declared, each a float within its declared range.
        """
        found = features(messages)

        assert set(FEATURES) == set(found)
        for name, (low, high) in FEATURES.items():
            value = found[name]
            assert isinstance(value, float)
            assert low <= value <= high

    @given(MESSAGES)
    def test_the_same_messages_give_the_same_floats(self, messages: list[Message]) -> None:
        """
        Nothing but the messages decides.
        """
        assert features(messages) == features([Message(*message) for message in messages])

    def test_all_messages_count_for_tokens_and_the_last_user_message_for_depth(self) -> None:
        """
        What is sent is priced, what is asked is judged.
        """
        asked = Message("user", "What is the capital of France?")
        system = Message("system", "Explain, compare, prove and derive whatever you are asked. " * 10)
        alone, with_system = features([asked]), features([system, asked])

        assert alone["depth"] == with_system["depth"]
        assert int(with_system["tokens"]) == estimate_tokens(asked.content) + estimate_tokens(system.content)

    @pytest.mark.parametrize(
        "text", ["\n" * 10**6, "and then " * 10**5, "1." * 10**6, "\n- " * 10**5, "word " * 10**5, "请" * 10**5]
    )
    def test_a_megabyte_takes_well_under_a_second(self, text: str) -> None:
        """
        A prompt as long as may be sent does not hold up a server.
        """
        began = time.process_time()
        features([Message("user", text)])

        assert time.process_time() - began < 0.5


class TestTokens:
    def test_nothing_is_no_token(self) -> None:
        """
        Empty text has no tokens.
        """
        assert 0 == estimate_tokens("")

    @given(st.text(), st.text())
    def test_more_text_is_never_fewer_tokens(self, one: str, other: str) -> None:
        """
        Appending a line never lowers the estimate.
        """
        assert estimate_tokens(one) <= estimate_tokens(one + "\n" + other)

    def test_scripts_without_spaces_are_counted_by_character(self) -> None:
        """
        Chinese text comes out at about one token a character, not one a sentence.
        """
        text = "法国的首都是哪里" * 10

        assert len(text) <= estimate_tokens(text) <= 2 * len(text)

    @pytest.mark.parametrize(("name", "error"), [("gsm8k", 0.05), ("mmlu", 0.07)])
    def test_real_counts_are_met(self, shared_data: Path, name: str, error: float) -> None:
        """
        On real prompts the mean error against reported token counts is what the docstring says.
        """
        with gzip.open(shared_data / "outcomes" / f"{name}.jsonl.gz") as rows:
            prompts = [json.loads(row) for row in rows]
        reported = [(row["prompt"], row["outcomes"]["gpt-4-1106-preview"]["input_tokens"]) for row in prompts]
        errors = [abs(estimate_tokens(prompt) - count) / count for prompt, count in reported]

        assert sum(errors) / len(errors) < error


class TestDepth:
    def test_a_plain_question_is_one_step(self) -> None:
        """
        One thing asked, nothing linked: depth 1.
        """
        assert 1.0 == number("What is the capital of France?", "depth")

    @pytest.mark.parametrize(
        "more",
        ["And why?", "Then explain it.", "1. one thing\n2. another", "if 3 of them break", "What if every second one fails?"],
    )
    def test_each_cue_adds_depth(self, more: str) -> None:
        """
        Questions, commands, items, links and quantities each make a request deeper.
        """
        base = "Describe the plant."

        assert number(base, "depth") < number(f"{base}\n{more}", "depth")

    @given(st.lists(st.sampled_from(["Why?", "prove it", "if so", "12", "- item", "word", "请问?"]), max_size=30))
    def test_another_line_never_lowers_depth(self, lines: list[str]) -> None:
        """
        As long as all of a prompt is read, depth only grows with it.
        """
        depths = [number("\n".join(lines[:count]), "depth") for count in range(len(lines) + 1)]

        assert sorted(depths) == depths


class TestAmbiguity:
    def test_a_clear_question_is_clear(self) -> None:
        """
        A question that names its object has next to no ambiguity.
        """
        assert 0.1 > number("What is the capital of France?", "ambiguity")

    @pytest.mark.parametrize("text", ["fix it", "hi", "Make something better somehow", "", "Please explain this"])
    def test_open_requests_are_ambiguous(self, text: str) -> None:
        """
        Requests without a task, an object or enough words stand out.
        """
        assert 0.4 < number(text, "ambiguity")

    def test_an_earlier_turn_resolves_a_referent(self) -> None:
        """
        "It" is clearer when something was said before.
        """
        turns = [Message("user", "I bought a new bicycle."), Message("assistant", "Congratulations!")]
        asked = Message("user", "Is it worth insuring against theft in a large city?")

        resolved = features([*turns, asked])["ambiguity"]

        assert isinstance(resolved, float)
        assert resolved < number(asked.content, "ambiguity")


class TestComplexity:
    @given(
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 1)),
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 1)),
    )
    def test_it_falls_with_none_of_its_terms(self, one: tuple[float, float, float], other: tuple[float, float, float]) -> None:
        """
        More tokens, more depth and more ambiguity never make a request less complex.
        """
        low = tuple(map(min, one, other))
        high = tuple(map(max, one, other))

        assert 0 <= complexity(*low) <= complexity(*high) <= 1

    def test_a_chain_of_tasks_is_more_complex_than_a_fact(self) -> None:
        """
        The two ends of ordinary traffic are far apart.
        """
        fact = "What is the capital of France?"
        chain = (
            "Compare three caching strategies, derive the hit rate each needs, and explain which one fails if writes double."
        )

        assert 0.1 > number(fact, "complexity")
        assert 0.3 < number(chain, "complexity")
