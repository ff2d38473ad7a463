"""
Several answers to one question: how sure they are, and which of them is served.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.roles import extract, outputs_of, settled
from meshwalk.model import Confidence, Extractor, Node
from meshwalk.model.problems import Span
from meshwalk.trace import Reply, ToolCall, Usage


HERE = Span("graph.yaml", 1, 1)


def asked(extractor: Extractor = "number", missing: float | None = None, samples: int = 2) -> Node:
    sure = Confidence("agreement", HERE, missing=missing, samples=samples, extract=extractor)

    return Node(name="n", role="answer", span=HERE, confidence=sure)


def reply(*samples: str) -> Reply:
    return Reply(samples[0] if samples else "#### 1", samples=samples)


class TestConfidence:
    @pytest.mark.parametrize(
        ("samples", "expected"),
        [
            (["#### 7", "so 7.0", "#### 8"], 2 / 3),
            (["#### 7", "#### 8"], 0.5),
            (["#### 7", "no idea", "no idea", "no idea"], 0.25),
            (["#### 7"] * 5, 1.0),
            (["no idea", "no idea"], None),
            (["#### 7"], None),
            ([], None),
        ],
    )
    def test_it_is_the_share_of_the_most_frequent_answer(self, samples: list[str], expected: float | None) -> None:
        """
        Answers are compared, not texts; what holds none agrees with nobody, and one answer alone says nothing.
        """
        assert expected == outputs_of(asked(), reply(*samples)).get("confidence")

    def test_a_stand_in(self) -> None:
        """
        A backend that gives no samples leaves what the node declares for it.
        """
        assert 0.25 == outputs_of(asked(missing=0.25), reply())["confidence"]

    def test_all_samples_count_where_nobody_counted(self) -> None:
        """
        The estimated length is that of all that was written.
        """
        one, three = (outputs_of(asked(), reply(*["some words"] * count))["output_tokens"] for count in (1, 3))

        assert 3 * float(one) == three

    def test_a_sample_that_did_not_come_agrees_with_nobody(self) -> None:
        """
        Two that agree of five that were asked for are as sure as two of five.
        """
        assert 0.4 == outputs_of(asked(samples=5), reply("#### 7", "#### 7"))["confidence"]

    @given(st.lists(st.sampled_from(["#### 1", "it is 1", "#### 2", "#### 3", "none"]), min_size=2, max_size=12))
    def test_against_counting_by_hand(self, samples: list[str]) -> None:
        """
        The confidence is what counting gives, in whatever order the answers came; the text served gives that answer, first.
        """
        answers = [extract("number", text) for text in samples]
        counts = Counter(answer for answer in answers if answer is not None)
        node, most = asked(), max(counts.values(), default=0)
        served = settled(node, reply(*samples)).text

        assert (most / len(samples) if most else None) == outputs_of(node, reply(*samples)).get("confidence")
        assert outputs_of(node, reply(*samples)).get("confidence") == outputs_of(node, reply(*samples[::-1])).get("confidence")
        if most:
            assert most == counts[extract("number", served) or ""]
            assert served == next(text for text in samples if extract("number", text) == extract("number", served))
        else:
            assert samples[0] == served


class TestSettled:
    def test_the_most_frequent_answer_is_served(self) -> None:
        """
        The first sample with that answer stands for all, and everything else of the reply stays.
        """
        given = Reply(
            "#### 8",
            samples=("#### 8", "I get 7.", "#### 7"),
            usage=Usage(3, 30),
            cost_nano_usd=5,
            model="m",
            finish_reason="length",
            tool_calls=(ToolCall("1", "add", "{}"),),
            cache_age_us=9,
        )
        found = settled(asked(), given)

        assert "I get 7." == found.text
        assert {name: getattr(given, name) for name in Reply.__slots__ if name != "text"} == {
            name: getattr(found, name) for name in Reply.__slots__ if name != "text"
        }

    def test_of_equals_the_first_counts(self) -> None:
        """
        Two answers that are as frequent are no reason to leave the first text.
        """
        given = reply("#### 8", "#### 7", "#### 7", "#### 8")

        assert given is settled(asked(), given)

    @pytest.mark.parametrize(
        "node",
        [
            Node(name="n", role="answer", span=HERE),
            Node(name="n", role="answer", span=HERE, confidence=Confidence("recorded", HERE)),
        ],
        ids=["without confidence", "with another"],
    )
    def test_other_nodes_are_left_alone(self, node: Node) -> None:
        """
        Only a node that compares samples chooses among them.
        """
        given = reply("#### 8", "#### 7", "#### 7")

        assert given is settled(node, given)
