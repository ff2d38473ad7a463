"""
The one rule: a decision after inference is accounting, not control.
"""

from __future__ import annotations

import pytest

from meshwalk.loader import read_graph
from meshwalk.model.problems import Problem
from meshwalk.plan import examine


HEAD = """\
meshwalk: 1
name: g
start: first
backends:
  free: {kind: simulated}
  little: {kind: simulated, usd_per_mtok: {input: 1, output: 2}}
  great: {kind: simulated, usd_per_mtok: {input: 10, output: 20}}
  equal: {kind: simulated, usd_per_mtok: {input: 15, output: 15}}
nodes:
"""
SMALL = "  small: {role: answer, backend: little, next: done}\n"
CLASSIFIER = (
    "  first: {role: classifier, use: features, next: [{to: best, when: signals.complexity > 0.5}, {to: small}]}\n" + SMALL
)
BEST = "  best: {role: primary, backend: great, next: done}\n"


def found(nodes: str) -> list[Problem]:
    plan, problems = examine(read_graph((HEAD + nodes).encode(), file="g.yaml"))
    assert plan is not None, problems

    return [problem for problem in problems if problem.code in ("unguarded-primary", "accounting-not-control")]


class TestBefore:
    def test_primary_at_the_start(self) -> None:
        """
        A graph that begins with its primary decides nothing.
        """
        (problem,) = found("  first: {role: primary, backend: great, next: done}\n")

        assert ("unguarded-primary", "warning", 10, 3) == (problem.code, problem.severity, *problem.span[1:3])
        assert "primary 'first' with nothing decided before (first)" in problem.message

    def test_classifier_without_a_guard(self) -> None:
        """
        To look at a request and go on regardless is no decision, and the path shows it.
        """
        (problem,) = found("  first: {role: classifier, use: features, next: best}\n" + BEST)

        assert "(first → best)" in problem.message

    def test_guard(self) -> None:
        """
        A node with any guard on its edges decides, whichever is taken.
        """
        assert [] == found(CLASSIFIER + BEST)

    @pytest.mark.parametrize(
        ("backend", "warned"),
        [("little", 0), ("free", 0), ("great", 1), ("equal", 1)],
        ids=["cheaper", "unknown", "same", "equal"],
    )
    @pytest.mark.parametrize("ways", ["next: best", "next: done, on_error: best"], ids=["replied", "failed"])
    def test_cheaper_answer(self, backend: str, warned: int, ways: str) -> None:
        """
        An answer that is cheaper, or may be, counts as tried, whether it replied or failed; one that is as dear does not.
        """
        assert warned == len(found(f"  first: {{role: answer, backend: {backend}, {ways}}}\n" + BEST))

    def test_guards_do_not_decide_for_errors(self) -> None:
        """
        A dear answer that fails leads on without any of its guards being asked.
        """
        edges = "next: [{to: best, when: output.output_tokens > 5}, {to: done}]"

        assert [] == found(f"  first: {{role: answer, backend: equal, {edges}}}\n" + BEST)
        assert 1 == len(found(f"  first: {{role: answer, backend: equal, {edges}, on_error: best}}\n" + BEST))

    def test_prescreen(self) -> None:
        """
        A screen qualifies what it lets through.
        """
        screen = (
            '  first: {role: prescreen, backend: little, prompt: "{{ prompt }}", qualified: {matches: "yes"}, next: best}\n'
        )

        assert [] == found(screen + BEST)

    def test_fallback_of_an_unguarded_primary(self) -> None:
        """
        Of two primaries one behind the other, the first is the one to guard.
        """
        second = "  second: {role: primary, backend: equal, next: done}\n"
        (problem,) = found("  first: {role: primary, backend: great, next: done, on_error: second}\n" + second)

        assert "primary 'first'" in problem.message


class TestAfter:
    @pytest.mark.parametrize(("backend", "warned"), [("little", 1), ("great", 1), ("equal", 1), ("free", 0)])
    def test_answerer_after_the_primary(self, backend: str, warned: int) -> None:
        """
        To go on to an answerer that is cheaper or as dear is accounting; of an unknown price nothing is said.
        """
        again = f"  again: {{role: answer, backend: {backend}, next: done}}\n"
        best = "  best: {role: primary, backend: great, next: [{to: again, when: output.output_tokens > 9}, {to: done}]}\n"

        assert warned == len(found(CLASSIFIER + best + again))

    def test_place_and_path(self) -> None:
        """
        The warning stands at the edge that chooses, behind a verifier too, and shows the way there.
        """
        best = "  best: {role: primary, backend: great, next: judge}\n"
        judge = (
            "  judge: {role: verifier, use: agreement, of: [first, best],\n"
            "    next: [{to: done, when: output.agree}, {to: again}]}\n"
            "  again: {role: answer, backend: little, next: done}\n"
        )
        first = "  first: {role: answer, backend: little, next: best}\n"
        (problem,) = found(first + best + judge)

        assert ("accounting-not-control", "warning", 13, 49) == (problem.code, problem.severity, *problem.span[1:3])
        assert "(best → judge → again)" in problem.message

    def test_serving_a_cheaper_answer(self) -> None:
        """
        To serve the cheaper reply after the dear one is paid is accounting as well; serving its own is not.
        """
        first = "  first: {role: answer, backend: little, next: [{to: done, when: output.output_tokens > 3}, {to: best}]}\n"
        edges = "[{to: done, answer: NAME, when: output.output_tokens > 9}, {to: done}]"
        best = f"  best: {{role: primary, backend: great, next: {edges}}}\n"

        assert ["accounting-not-control"] == [one.code for one in found(first + best.replace("NAME", "first"))]
        assert [] == found(first + best.replace("NAME", "best"))

    def test_a_dearer_answerer(self) -> None:
        """
        To climb further is control.
        """
        first = CLASSIFIER.replace("best, when", "mid, when")
        mid = "  mid: {role: primary, backend: little, next: [{to: best, when: output.output_tokens > 9}, {to: done}]}\n"

        assert [] == found(first + mid + BEST)

    def test_fallback_after_a_failed_primary(self) -> None:
        """
        What is chosen because the primary failed is no accounting.
        """
        best = "  best: {role: primary, backend: great, next: done, on_error: small}\n"

        assert [] == found(CLASSIFIER + best)
