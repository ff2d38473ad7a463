"""
Models that judge answers, and answers that are asked for several times: from the graph's text to what is called and paid.
"""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent

import pytest

from meshwalk.backends import token_counts
from meshwalk.backends.base import ChatRequest
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.cases import run_cases
from meshwalk.checks import worst_case
from meshwalk.engine import Engine
from meshwalk.loader import read_cases
from meshwalk.plan import Plan, examine, restore
from meshwalk.trace import Facts, Message, Reply, Request, Usage
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

TEXT = """
    meshwalk: 1
    name: judged
    start: student
    limits: {cost_usd: 1, input_bytes: 400}
    thresholds: {agreed: 0.6, good: 0.7}
    backends:
      little: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 1, output: 2}}
      critic: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 1, output: 2}}
      great: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 10, output: 20}}
    nodes:
      student:
        role: answer
        backend: little
        max_tokens: 20
        confidence: {from: agreement, samples: 5, extract: number, missing: 0}
        next:
          - {to: done, when: output.confidence >= thresholds.agreed}
          - {to: judge}
      judge:
        role: verifier
        use: model
        backend: critic
        of: [student]
        prompt: "Q: {{ prompt }}\\nA: {{ answer.student }}\\nAnswer with SCORE: and a number from 0 to 1."
        score: {from: stated, pattern: "SCORE: ([0-9.]+)", missing: 0}
        max_tokens: 8
        retries: 1
        next:
          - {to: done, when: output.score >= thresholds.good}
          - {to: primary}
        on_error: primary
      primary: {role: primary, backend: great, max_tokens: 50, next: done}
"""
PLAN = plan_of(TEXT)

CASES = """
    cases:
      - name: samples that agree are served, by the first that says so
        given: {messages: "3 + 4?", replies: {student: {samples: ["#### 8", "It is 7.", "#### 7", "#### 7", "7.0"]}}}
        expect: {path: [student, done], served: student}
      - name: a judge that likes the answer saves the primary
        given:
          messages: 3 + 4?
          replies: {student: {samples: ["#### 7", "#### 8", "#### 9"]}, judge: {text: "SCORE: 0.9"}}
        expect: {path: [student, judge, done], served: student}
      - name: a judge that says no number does not
        given:
          messages: 3 + 4?
          replies: {student: {text: "#### 7"}, judge: {text: fine}, primary: {text: "7"}}
        expect: {path: [student, judge, primary, done], served: primary}
      - name: nor does one that breaks
        given:
          messages: 3 + 4?
          replies: {student: {text: "#### 7"}, judge: {error: overloaded}, primary: {text: "7"}}
        expect: {path: [student, judge, primary, done], takes: judge -> primary}
"""


class TestText:
    def test_a_plan_is_restored_as_it_was(self) -> None:
        """
        The canonical form keeps samples, what is compared of them, and a judge's score.
        """
        again = restore(PLAN.canonical)
        sure, score = (again.graph.nodes[name].confidence for name in ("student", "judge"))

        assert PLAN.plan_digest == again.plan_digest
        assert sure is not None
        assert score is not None
        assert ("agreement", 5, "number") == (sure.source, sure.samples, sure.extract)
        assert ("stated", 0.0) == (score.source, score.missing)
        assert PLAN.node("judge").node.quotes == again.node("judge").node.quotes

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("samples: 5", "samples: 4"),
            ("extract: number", "extract: text"),
            ("score: {from: stated", "score: {missing: 1, from: stated"),
        ],
    )
    def test_what_decides_changes_the_digest(self, old: str, new: str) -> None:
        """
        Another number of samples, another comparison, or another score is another plan.
        """
        changed = TEXT.replace(old, new) if "missing: 1" not in new else TEXT.replace('+)", missing: 0}', '+)", missing: 1}')

        assert PLAN.plan_digest != plan_of(changed).plan_digest

    def test_a_judge_decides_before_the_primary(self) -> None:
        """
        A primary behind a model's verdict is not warned of, although the judge costs what the answer did.
        """
        graph = PLAN.graph
        student = replace(graph.nodes["student"], backend="great", next=(graph.nodes["student"].next[-1],))
        plan, problems = examine(replace(graph, nodes={**graph.nodes, "student": student}))

        assert plan is not None
        assert "unguarded-primary" not in {problem.code for problem in problems}


class TestNeed:
    def test_every_sample_is_paid_for(self) -> None:
        """
        The input is sent once and the output is written five times; the window holds one of them.
        """
        student, facts = PLAN.node("student"), Facts((), 100, 1)

        assert (116 * 1000 + 5 * 20 * 2000, 116, 100) == student.need(facts)
        assert 116 + 20 == worst_case.window(student.node, facts)

    def test_what_a_judge_is_shown_is_bounded(self) -> None:
        """
        An answer adds eight bytes a token that it may have, however long it is.
        """
        judge = PLAN.node("judge").node
        template = len("Q: \nA: \nAnswer with SCORE: and a number from 0 to 1.")

        assert {"student": 160} == judge.quotes
        assert template + 100 + 160 + 16 == worst_case.input_tokens(judge, Facts((), 100, 1))

    def test_bounds_hold_both(self) -> None:
        """
        The worst walk pays for all samples and for both attempts of the judge.
        """
        costs = [plan.need(worst_case.largest_facts(PLAN.graph))[0] or 0 for plan in PLAN.nodes]

        assert costs[0] + 2 * costs[1] + costs[2] == PLAN.bounds.cost_nano_usd.value
        assert 5 * 20 + 2 * 8 + 50 == PLAN.bounds.output_tokens.value

    def test_a_tokenizer_cannot_count_what_is_not_said_yet(self) -> None:
        """
        A judge's input is bounded by bytes, whatever counts the others'.
        """
        tokenizers = {"little": len, "critic": len}
        counted = token_counts.count_inputs(PLAN, tokenizers, (Message("user", "abc"),), {})

        assert (("student", 3),) == counted


class Critic:
    """
    Answer as scripted, and keep what was asked.
    """

    waits = False

    def __init__(self, *samples: str) -> None:
        self.samples = samples
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        if request.samples > 1:
            return Reply(self.samples[0], samples=self.samples, usage=Usage(1, 1))

        return Reply("SCORE: 0.9", usage=Usage(1, 1))

    async def aclose(self) -> None:
        """
        Do nothing.
        """


async def walk(plan: Plan, backend: Critic, prompt: str) -> tuple[str, list[str]]:
    engine = Engine(plan, dict.fromkeys(plan.graph.backends, backend), lambda _: None, vault=MemoryVault())
    done = await engine.walk(Request((Message("user", prompt),)))

    return done.answer, done.traversal.path


class TestCalls:
    async def test_cases(self) -> None:
        """
        Samples and verdicts can be scripted, and the walk goes where they lead.
        """
        cases = read_cases(dedent(CASES).encode(), file="judged.cases.yaml", graph=PLAN.graph)
        results = await run_cases(PLAN, cases)

        assert [()] * 4 == [result.failures for result in results]

    async def test_a_judge_is_shown_the_answer_that_would_be_served(self) -> None:
        """
        One call asks for five answers; the judge sees the one that stands for them, to the letter, and nothing is obeyed in it.
        """
        backend = Critic("#### 1", "{{ prompt }} #### 2", "#### 2", "#### 3", "#### 4")
        answer, path = await walk(PLAN, backend, "3 + 4?")

        assert ("{{ prompt }} #### 2", ["student", "judge"]) == (answer, path)
        assert [5, 1] == [request.samples for request in backend.asked]
        assert "Q: 3 + 4?\nA: {{ prompt }} #### 2\nAnswer" in backend.asked[1].prompt

    async def test_of_a_long_answer_the_end_is_shown(self) -> None:
        """
        What a judge is sent stays within its bound, whatever the answer's length.
        """
        backend = Critic("é" * 500 + "#### 1", "#### 2", "#### 3")
        await walk(PLAN, backend, "3 + 4?")
        sent = backend.asked[1].prompt

        assert "é#### 1\n" in sent
        assert len(sent.encode()) + 16 <= worst_case.input_tokens(PLAN.node("judge").node, Facts((), len("3 + 4?"), 1))
