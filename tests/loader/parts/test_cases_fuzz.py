"""
Whatever a file of cases says, the loader answers with cases or with problems, and what it takes can be walked.
"""

from __future__ import annotations

import json
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.cases import run_cases
from meshwalk.loader import read_cases
from meshwalk.loader.casebook import Case
from meshwalk.loader.schema.cases import (
    AmountShape,
    CaseShape,
    ExpectShape,
    FailedReplyShape,
    GivenShape,
    MessageShape,
    ReplyShape,
)
from meshwalk.model.problems import GraphError, Problem, render
from tests.support.plans import plan_of


PLAN = plan_of("""\
    meshwalk: 1
    name: g
    start: intake
    budgets: {session: {cost_usd: 1, window: 1h}, workflow: {calls: 3}}
    request: {task: {type: string, enum: [x, y], default: x}}
    backends: {s: {kind: simulated, usd_per_mtok: {input: 1, output: 2}}}
    nodes:
      intake: {role: classifier, use: features, next: [{to: a, when: signals.depth > 1}, {to: b}]}
      a:
        role: answer
        backend: s
        retries: 1
        max_tokens: 9
        confidence: {from: recorded}
        next: [{to: done, when: output.confidence > 0.5, id: sure}, {to: b}]
        on_error: b
      b: {role: primary, backend: s, max_tokens: 9, next: done, on_error: [{to: done, answer: a, else: sorry}]}
      sorry: {role: refusal, reason: nobody}
    """)

WORDS = st.sampled_from(
    [
        *("a", "b", "intake", "sorry", "done", "nobody", "", "user", "system", "x", "task", "urgency", "realtime", "sure"),
        *("a -> b", "b -> sorry", "edge 1 of a", "error edge 1 of b", "edge 9 of a", "->", "edge  of"),
        *("answered", "refused", "timeout", "overloaded", "budget", "1s", "0ms", "9h", "é", "\x7f"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.sampled_from(["input", "output"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def tables(*keys: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """
    Make tables of *keys*, most of them with values that may be right.
    """
    return st.fixed_dictionaries({}, optional={key: known.get(key, VALUES) for key in (*keys, "strange")}) | VALUES


REPLIES = tables(*ReplyShape.known_keys(), latency=WORDS, text=WORDS) | tables(*FailedReplyShape.known_keys(), error=WORDS)
AMOUNTS = tables(*AmountShape.known_keys(), cost_usd=st.floats(0, 2), calls=st.integers(0, 2))
GIVEN = tables(
    *GivenShape.known_keys(),
    messages=WORDS | st.lists(tables(*MessageShape.known_keys(), role=WORDS, content=WORDS), max_size=2),
    attributes=st.dictionaries(WORDS, SCALARS, max_size=2),
    session=WORDS,
    workflow=WORDS,
    spent=tables("session", "workflow", "tenant", session=AMOUNTS, workflow=AMOUNTS),
    signals=st.dictionaries(st.sampled_from(["depth", "tokens"]), SCALARS, max_size=2),
    replies=st.dictionaries(st.sampled_from(["a", "b", "intake"]), REPLIES | st.lists(REPLIES, max_size=2), max_size=3),
)
EXPECT = tables(
    *ExpectShape.known_keys(),
    path=st.lists(WORDS, max_size=3),
    takes=WORDS | st.lists(WORDS, max_size=2),
    outcome=WORDS,
    served=WORDS,
    cause=WORDS,
    scope=st.sampled_from(["session", "workflow", "tenant", "request", "sesion"]),
)
CASES = st.lists(tables(*CaseShape.known_keys(), name=WORDS, given=GIVEN, expect=EXPECT), max_size=3)


def answered(text: bytes) -> None:
    cases, problems = read(text)
    lines = {"g.cases.yaml": text.decode().split("\n")}

    assert all(render(problem, lines) for problem in problems)
    assert all(min(problem.span[1:]) >= 1 for problem in problems)

    results = anyio.run(run_cases, PLAN, cases)

    assert [case.name for case in cases] == [result.name for result in results]
    assert all(result.ok or all(failure.message for failure in result.failures) for result in results)


def read(text: bytes) -> tuple[tuple[Case, ...], tuple[Problem, ...]]:
    try:
        return read_cases(text, PLAN.graph, file="g.cases.yaml"), ()
    except GraphError as error:
        return (), error.problems


class TestFuzz:
    @given(CASES | VALUES)
    @settings(max_examples=150, deadline=None)
    def test_any_document_is_answered(self, cases: Any) -> None:
        """
        A document of our keys with any values gives cases that can be walked, or problems with their places.
        """
        answered(json.dumps({"cases": cases}).replace("NaN", ".nan").replace("Infinity", ".inf").encode())

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_any_slip_in_sound_cases_is_answered(self, data: st.DataObject) -> None:
        """
        Sound cases with a piece of their text overwritten can be walked or have problems, and nothing crashes.
        """
        start = data.draw(st.integers(0, len(_SOUND) - 1))
        length = data.draw(st.integers(0, 8))
        slip = data.draw(st.text(alphabet=st.sampled_from("ab:{}[],-'\" \n#&*!|>%@\t01.~"), max_size=4))
        answered((_SOUND[:start] + slip + _SOUND[start + length :]).encode())

    def test_sound_cases_pass(self) -> None:
        """
        What slips are made in is sound to begin with.
        """
        cases = read_cases(_SOUND.encode(), PLAN.graph, file="g.cases.yaml")

        assert [()] * 4 == [result.failures for result in anyio.run(run_cases, PLAN, cases)]


_SOUND = """cases:
- name: one
  given:
    messages: [{role: system, content: Be brief.}, {role: user, content: hello}]
    attributes: {task: y, urgency: batch}
    limits: {cost_usd: 0.5, hops: 4, deadline: 9s}
    session: s-1
    spent: {session: {cost_usd: 0.5, calls: 9}, workflow: {calls: 2}}
    signals: {depth: 2}
    replies:
      a: {text: hi, confidence: 0.9, finish_reason: stop, usage: {input: 3, output: 1}, cost_usd: 0.1, latency: 1s}
  expect: {path: [intake, a, done], takes: [sure, intake -> a], outcome: answered, served: a, cost_usd_at_most: 0.1}
- name: two
  given: {messages: hello, signals: {depth: 1}, replies: {b: [{error: overloaded}]}}
  expect: {path: [intake, b, sorry], takes: b -> sorry, outcome: refused, reason: nobody}
- name: three
  given: {messages: "", limits: {input_bytes: 3}}
  expect: {outcome: rejected, reason: prompt}
- name: four
  given: {messages: hello, signals: {depth: 1}, spent: {workflow: {calls: 3}}}
  expect: {path: [intake, b, sorry], scope: workflow}
"""
