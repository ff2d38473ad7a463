from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.roles import outputs_of
from meshwalk.model import Confidence, ConfidenceSource, Node, Role, Value, signals
from meshwalk.model.problems import Span
from meshwalk.trace import Reply, TokenProbabilities, Usage


HERE = Span("graph.yaml", 1, 1)


def node(
    role: Role = "answer",
    source: ConfidenceSource | None = None,
    *,
    pattern: str | None = None,
    missing: float | None = None,
    qualified: str | None = "yes",
) -> Node:
    confidence = Confidence(source, HERE, pattern, missing) if source else None

    return Node(name="n", role=role, span=HERE, confidence=confidence, qualified=qualified)


def confidence(
    source: ConfidenceSource, reply: Reply, *, pattern: str | None = None, missing: float | None = None
) -> Value | None:
    return outputs_of(node("answer", source, pattern=pattern, missing=missing), reply).get("confidence")


class TestConfidence:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [("mean_token_probability", 0.9), ("min_token_probability", 0.2), ("margin", 0.5), ("recorded", 0.7)],
    )
    def test_each_source_reads_its_own_number(self, source: ConfidenceSource, expected: float) -> None:
        """
        A reply that carries every kind of confidence gives the one the node names.
        """
        reply = Reply("text", confidence=0.7, probabilities=TokenProbabilities(0.9, 0.2, 0.5))

        assert expected == confidence(source, reply)

    @pytest.mark.parametrize("source", ["mean_token_probability", "min_token_probability", "margin", "recorded"])
    def test_a_reply_without_it_leaves_it_absent(self, source: ConfidenceSource) -> None:
        """
        What the backend did not give is not there, and a declared stand-in takes its place.
        """
        assert confidence(source, Reply("text")) is None
        assert 0.25 == confidence(source, Reply("text"), missing=0.25)

    def test_a_margin_may_be_the_only_thing_missing(self) -> None:
        """
        Probabilities without a second choice have no margin.
        """
        assert confidence("margin", Reply("text", probabilities=TokenProbabilities(0.9, 0.2))) is None

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("CONF: 0.85", 0.85),
            ("CONF: 0.2 … no, CONF: 0.9", 0.9),
            ("CONF: 85%", 0.85),
            ("CONF: 85", None),
            ("CONF: ..", None),
            ("no number", None),
        ],
    )
    def test_a_stated_confidence_is_the_last_one(self, text: str, expected: float | None) -> None:
        """
        The group is read as a number or a percentage; what is neither, or outside 0 to 1, is absent.
        """
        assert expected == confidence("stated", Reply(text), pattern=r"CONF: ([0-9.]+%?)")

    def test_a_pattern_sees_the_end_of_a_long_reply_only(self) -> None:
        """
        A pattern that backtracks does not meet a megabyte.
        """
        stated = "CONF: 0.9"

        assert 0.9 == confidence("stated", Reply("x" * 10**6 + stated), pattern=r"CONF: ([0-9.]+)")
        assert confidence("stated", Reply(stated + "x" * 10**6), pattern=r"CONF: ([0-9.]+)") is None

    def test_a_pattern_without_a_group_is_read_whole(self) -> None:
        """
        The whole match counts where there is no group.
        """
        assert 0.5 == confidence("stated", Reply("sure? 0.5"), pattern=r"0\.\d+")

    @given(st.floats())
    def test_only_numbers_from_0_to_1_count(self, value: float) -> None:
        """
        A number outside the range, or none at all, is absent rather than clamped.
        """
        found = confidence("recorded", Reply("text", confidence=value))

        assert (value if 0 <= value <= 1 else None) == found

    def test_nan_takes_the_stand_in(self) -> None:
        """
        A confidence that is not a number counts as missing.
        """
        assert 0.0 == confidence("recorded", Reply("text", confidence=math.nan), missing=0.0)


class TestAnswer:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("stop", "stop"),
            ("length", "length"),
            ("content_filter", "content_filter"),
            ("function_call", "tool_calls"),
            ("", "other"),
        ],
    )
    def test_finish_reasons_are_folded(self, said: str, expected: str) -> None:
        """
        A guard sees one of the declared reasons, whatever the provider says.
        """
        assert expected == outputs_of(node(), Reply("text", finish_reason=said))["finish_reason"]

    def test_the_length_is_a_float(self) -> None:
        """
        Numbers in guards have one type.
        """
        length = outputs_of(node("primary"), Reply("text", usage=Usage(3, 5)))["output_tokens"]

        assert isinstance(length, float)
        assert 5.0 == length

    def test_a_length_nobody_counted_is_estimated(self) -> None:
        """
        A reply without usage still has a length.
        """
        assert 0 < float(outputs_of(node(), Reply("some words of text"))["output_tokens"])


class TestPrescreen:
    @pytest.mark.parametrize(
        ("text", "qualified", "label"),
        [("  YES, it is.", True, "yes"), ("No.", False, "no"), ("", False, ""), ("…", False, "")],
    )
    def test_the_verdict_and_its_label(self, text: str, qualified: bool, label: str) -> None:
        """
        The pattern is searched without regard to case; the label is what matched, or the first word.
        """
        assert {"qualified": qualified, "label": label} == outputs_of(node("prescreen"), Reply(text))

    def test_without_a_rule_nothing_qualifies(self) -> None:
        """
        A filter without a pattern lets nothing through.
        """
        assert outputs_of(node("prescreen", qualified=None), Reply("yes"))["qualified"] is False

    def test_a_screen_has_a_confidence_too(self) -> None:
        """
        The verdict comes with how sure the model is.
        """
        found = outputs_of(node("prescreen", "recorded"), Reply("yes", confidence=0.6))

        assert 0.6 == found["confidence"]


@given(
    role=st.sampled_from(["answer", "primary", "prescreen"]),
    source=st.sampled_from(["mean_token_probability", "margin", "stated", "recorded"]),
    text=st.text(),
    finish=st.text(),
    value=st.none() | st.floats(),
)
def test_outputs_are_those_declared(role: Role, source: ConfidenceSource, text: str, finish: str, value: float | None) -> None:
    """
    Any reply gives exactly the declared outputs, in their types, ranges and members; only an optional one may be absent.
    """
    described = node(role, source, pattern=r"(\d\.\d)")
    found = outputs_of(described, Reply(text, finish_reason=finish, confidence=value))
    declared = {signal.name.rpartition(".")[2]: signal for signal in signals.outputs(described)}

    assert set(found) <= set(declared)
    for name, signal in declared.items():
        if name not in found:
            assert signal.optional
        elif signal.range:
            number = found[name]
            assert isinstance(number, float)
            assert signal.range[0] <= number <= signal.range[1]
        elif signal.members:
            assert found[name] in signal.members
