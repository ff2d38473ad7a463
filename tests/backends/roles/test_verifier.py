from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.roles import agreement, outputs_of
from meshwalk.model import Confidence, Extractor, Node
from meshwalk.model.problems import Span
from meshwalk.model.signals import outputs
from meshwalk.trace import Reply


def verifier(*of: str, extract: Extractor = "number") -> Node:
    return Node(name="judge", role="verifier", span=Span("graph.yaml", 1, 1), use="agreement", of=of, extract=extract)


class TestAgreement:
    def test_equal_answers_agree(self) -> None:
        """
        Two ways to one number agree, however they put it.
        """
        found = agreement(verifier("a", "b"), {"a": "so #### 1,200", "b": "I get $1200.00."})

        assert {"agree": True, "score": 1.0} == found

    def test_different_answers_do_not(self) -> None:
        """
        One differing answer is enough to disagree; the score is the share of pairs that are equal.
        """
        found = agreement(verifier("a", "b", "c"), {"a": "7", "b": "7", "c": "8"})

        assert {"agree": False, "score": 1 / 3} == found

    def test_a_missing_reply_agrees_with_nothing(self) -> None:
        """
        A node that gave no reply cannot agree.
        """
        assert {"agree": False, "score": 0.0} == agreement(verifier("a", "b"), {"a": "7"})

    def test_two_replies_without_an_answer_do_not_agree(self) -> None:
        """
        Having no answer in common is not having one.
        """
        assert {"agree": False, "score": 0.0} == agreement(verifier("a", "b"), {"a": "none", "b": "none"})

    def test_a_declared_confidence_is_no_answer(self) -> None:
        """
        Stated confidences that differ, or are equal, do not touch the verdict.
        """
        texts = {"a": "it is 7, sure at 0.9", "b": "it is 7, sure at 0.4"}
        pattern = r"sure at ([0-9.]+)"

        assert agreement(verifier("a", "b"), texts)["agree"] is False
        assert agreement(verifier("a", "b"), texts, {"a": pattern, "b": pattern})["agree"] is True

    @given(st.lists(st.sampled_from(["1", "2", "none"]), min_size=2, max_size=5))
    def test_a_full_score_is_agreement(self, answers: list[str]) -> None:
        """
        They agree exactly where every pair does, and order does not matter.
        """
        names = [f"n{index}" for index in range(len(answers))]
        found = agreement(verifier(*names), dict(zip(names, answers, strict=True)))

        assert found["agree"] == (found["score"] == 1.0)
        assert found == agreement(verifier(*reversed(names)), dict(zip(names, answers, strict=True)))


def test_agreement_of_real_replies_is_worth_its_cost(shared_data: Path) -> None:
    """
    On GSM8K, accepting what two cheap models agree on beats the large model at less than 0.6 of its cost.
    """
    student, middle, large = "anytime-student@160", "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
    node = verifier("student", "middle")
    score = cost = always = 0.0
    with gzip.open(shared_data / "outcomes" / "gsm8k.jsonl.gz") as file:
        rows = [json.loads(row)["outcomes"] for row in file]
    for row in rows:
        agree = agreement(node, {"student": row[student]["response"], "middle": row[middle]["response"]})["agree"]
        score += row[middle if agree else large]["score"]
        cost += (row[student]["input_tokens"] + row[student]["output_tokens"]) * 0.2e-6 + row[middle]["cost_usd"]
        cost += 0 if agree else row[large]["cost_usd"]
        always += row[large]["cost_usd"]

    assert 0.88 <= score / len(rows)
    assert 0.60 >= cost / always


class TestScore:
    @pytest.mark.parametrize(
        ("missing", "text", "expected"),
        [(None, "SCORE: 0.8", {"score": 0.8}), (None, "good", {}), (0.1, "SCORE: 11", {"score": 0.1})],
    )
    def test_it_is_read_as_a_confidence_is(self, missing: float | None, text: str, expected: dict[str, float]) -> None:
        """
        A model's score is the number that it states, or what stands for it; nothing else is written.
        """
        stated = Confidence("stated", Span("graph.yaml", 1, 1), r"SCORE: ([0-9.]+)", missing)
        judge = replace(verifier("a"), use="model", confidence=stated)

        assert expected == outputs_of(judge, Reply(text))
        assert set(expected) <= {signal.name.rpartition(".")[2] for signal in outputs(judge)}
