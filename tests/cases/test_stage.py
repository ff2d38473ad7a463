"""
Cases of graphs whose classifiers ask the world: what they would say is said by the case.
"""

from __future__ import annotations

from textwrap import indent

import pytest

from meshwalk.cases import CaseResult, run_cases
from meshwalk.loader import read_cases
from meshwalk.model.problems import GraphError
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of("""\
    meshwalk: 1
    name: labelled
    start: intake
    backends:
      little: {kind: simulated}
    nodes:
      intake:
        role: classifier
        use: python
        function: "no_such_module:judge"
        writes: {topic: {type: string, enum: [prose, proof]}, risk: {type: number, range: [0, 1]}, old: {type: bool}}
        next:
          - {to: sorry, when: "signals.risk > 0.5 || signals.old"}
          - {to: sort}
      sort:
        role: classifier
        use: model
        backend: little
        labels: [short, long]
        next:
          - {to: sorry, when: "signals.label == 'long' && signals.topic == 'proof'"}
          - {to: answer}
      answer: {role: answer, backend: little, next: done}
      sorry: {role: refusal, reason: too hard}
    """)


async def ran(signals: str, path: str, replies: str = "{}") -> CaseResult:
    """
    Walk one case in which classifiers say *signals*.
    """
    given = f"{{messages: hello, signals: {signals}, replies: {replies}}}"
    text = "cases:\n" + indent(f"- {{name: one, given: {given}, expect: {{path: {path}}}}}\n", "  ")
    (result,) = await run_cases(PLAN, read_cases(text.encode(), PLAN.graph, file="labelled.cases.yaml"))

    return result


async def test_signals_of_every_kind_are_said() -> None:
    """
    What a function would say of a request is said by the case, and nobody is asked; a model's label by its reply or so, too.
    """
    replies = "{sort: {text: short}, answer: {text: hello}}"
    easy = await ran("{topic: proof, risk: 0.5, old: false}", "[intake, sort, answer, done]", replies)
    old = await ran("{topic: prose, risk: 0, old: true}", "[intake, sorry]")
    hard = await ran("{topic: proof, risk: 0, old: false, label: long}", "[intake, sort, sorry]")

    assert [(), (), ()] == [easy.failures, old.failures, hard.failures]


async def test_what_is_not_said_is_asked_for() -> None:
    """
    A signal that only the world could tell must be in the case, which is told where.
    """
    (failure,) = (await ran("{topic: prose, risk: 0}", "[intake, sorry]")).failures

    assert "classifier 'intake' is asked, and the case does not say what it gives; add `old: …`" in str(failure)


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ("{topic: poem}", "signal 'topic' is 'poem', and 'topic' takes one of: prose, proof"),
        ("{old: 1}", "signal 'old' is a number, and 'old' takes true or false"),
        ("{risk: 2}", "signal 'risk' is 2, and takes 0 to 1"),
        ("{risk: high}", "signal 'risk' is text, and takes a number"),
        ("{tokens: 2}", "no classifier gives a signal 'tokens'"),
    ],
)
async def test_what_no_classifier_would_say_is_a_fault(signals: str, expected: str) -> None:
    """
    A signal is held to what its classifier declares.
    """
    with pytest.raises(GraphError, match=expected):
        await ran(signals, "[intake]")
