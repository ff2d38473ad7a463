"""
How faults are ordered and printed, and whose hand mends which error.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import problems
from meshwalk.model.problems import (
    RETRY_SECONDS,
    BackendError,
    BudgetContended,
    BudgetExceeded,
    DeadlineExceeded,
    GraphError,
    HopFailed,
    Malformed,
    MeshClosed,
    MeshwalkError,
    Overloaded,
    Problem,
    RateLimited,
    RequestError,
    RequestInProgress,
    SetupError,
    Span,
    TooManyWalks,
    TraceError,
    VaultUnavailable,
    Violation,
    in_file_order,
    render,
)


SPANS = st.builds(Span, st.sampled_from(["a.yaml", "b.yaml"]), st.integers(1, 9), st.integers(1, 9))
PROBLEMS = st.builds(Problem, SPANS, st.sampled_from(["x", "y"]), st.sampled_from(["this", "that"]))


def family(of: type[MeshwalkError]) -> Iterator[type[MeshwalkError]]:
    yield of
    for child in of.__subclasses__():
        yield from family(child)


class TestProblem:
    def test_span_prints_as_editors_read_it(self) -> None:
        """
        A place is file, line and column, joined by colons.
        """
        assert "graphs/a.yaml:3:14" == str(Span("graphs/a.yaml", 3, 14))

    def test_problem_prints_place_sentence_and_code(self) -> None:
        """
        A problem's text fits on one line.
        """
        assert "a.yaml:3:14: no such node [dangling]" == str(Problem(Span("a.yaml", 3, 14), "dangling", "no such node"))

    @given(st.lists(PROBLEMS))
    def test_problems_come_in_file_order_once(self, found: list[Problem]) -> None:
        """
        Problems are sorted by place, and saying the same twice is saying it once.
        """
        ordered = in_file_order(found)

        assert set(found) == set(ordered)
        assert len(set(found)) == len(ordered)
        assert sorted(problem.span for problem in set(found)) == [problem.span for problem in ordered]

    def test_first_of_two_helps_is_kept_in_order(self) -> None:
        """
        The order does not depend on the order in which problems were found.
        """
        first, second = Problem(Span("a", 1, 1), "x", "this"), Problem(Span("a", 1, 1), "y", "that")

        assert (first, second) == in_file_order([second, first])


SOURCES = {"a.yaml": ["start: intake", "  - {to: large, when: signals.complexty}", "\tx: 1"]}


class TestRender:
    def test_place_line_caret_and_remedy(self) -> None:
        """
        A problem is shown with its line, a caret under each character it is about, and its remedy.
        """
        problem = Problem(Span("a.yaml", 2, 22, 17), "unknown-signal", "unknown signal", help="did you mean 'complexity'?")

        assert [
            "a.yaml:2:22: unknown signal [unknown-signal]",
            "    2 |   - {to: large, when: signals.complexty}",
            "      |                      ^^^^^^^^^^^^^^^^^",
            "      help: did you mean 'complexity'?",
        ] == render(problem, SOURCES).splitlines()

    def test_warning_says_so(self) -> None:
        """
        A warning is not mistaken for an error.
        """
        problem = Problem(Span("b.yaml", 1, 1), "costly", "may cost a lot", severity="warning")

        assert "b.yaml:1:1: warning: may cost a lot [costly]" == render(problem, SOURCES)

    def test_tab_keeps_its_width_under_the_line(self) -> None:
        """
        A caret after a tab stands under its character, however wide the tab is shown.
        """
        shown = render(Problem(Span("a.yaml", 3, 2), "x", "this"), SOURCES).splitlines()

        assert ["    3 | \tx: 1", "      | \t^"] == shown[1:]

    @pytest.mark.parametrize("line", [0, 4])
    def test_place_outside_the_text_is_not_quoted(self, line: int) -> None:
        """
        A place that the text does not have is named without a line.
        """
        assert 1 == len(render(Problem(Span("a.yaml", line, 1), "x", "this"), SOURCES).splitlines())

    # A place may be one past the end: there the line lacks something.
    @given(st.integers(1, len(SOURCES["a.yaml"][0]) + 1), st.integers(0, 60))
    def test_carets_stay_on_the_line(self, column: int, length: int) -> None:
        """
        At least one caret is shown, and none past the end of the line but the first.
        """
        shown = render(Problem(Span("a.yaml", 1, column, length), "x", "this"), SOURCES).splitlines()
        carets = shown[2].removeprefix("      | ")

        assert column - 1 == carets.index("^")
        assert len(carets) <= max(column, len(SOURCES["a.yaml"][0]))

    def test_an_endless_word_is_cut(self) -> None:
        """
        What the author wrote is named, in the sentence and in the remedy, as far as anybody reads it.
        """
        problem = Problem(Span("b.yaml", 1, 1), "x", f"there is no '{'n' * 5000}' here", f"write {'m' * 240} or {'m' * 241}")

        assert [
            f"b.yaml:1:1: there is no '{'n' * 238}… here [x]",
            f"      help: write {'m' * 240} or {'m' * 239}…",
        ] == render(problem, SOURCES).splitlines()

    @pytest.mark.parametrize("column", [1, 2, 81, 82, 100, 5000, 9999, 10_000, 10_001])
    def test_of_a_long_line_an_excerpt_is_shown(self, column: int) -> None:
        """
        A line that nobody would read is cut on both sides, and the caret still stands under its character.
        """
        line = "".join(chr(0x4E00 + position) for position in range(10_000))
        shown = render(Problem(Span("a.yaml", 1, column, 9000), "x", "this"), {"a.yaml": [line]}).splitlines()
        excerpt, carets = (row[8:] for row in shown[1:])

        assert len(carets) <= max(len(excerpt), carets.index("^") + 1) <= 240
        assert line[column - 1 : column] == excerpt[carets.index("^") : carets.index("^") + 1]
        assert [column > 81, column < 9800] == [excerpt.startswith("…"), excerpt.endswith("…")]


class TestErrors:
    @pytest.mark.parametrize("error", list(family(MeshwalkError)), ids=lambda error: error.__name__)
    def test_hint_is_a_status_that_grpc_has(self, error: type[MeshwalkError]) -> None:
        """
        Every error names a gRPC status, as text.
        """
        assert error.hint in grpc.StatusCode.__members__

    def test_every_error_of_the_house_has_one_parent(self) -> None:
        """
        A caller who catches MeshwalkError catches all that is raised on purpose.
        """
        raised = {value for value in vars(problems).values() if isinstance(value, type) and issubclass(value, Exception)}

        assert raised <= set(family(MeshwalkError))

    def test_graph_error_holds_its_problems_in_order(self) -> None:
        """
        A graph's error lists its problems in file order, and prints one a line.
        """
        late, early = Problem(Span("a", 9, 1), "x", "late"), Problem(Span("a", 2, 1), "x", "early")
        error = GraphError([late, early])

        assert (early, late) == error.problems
        assert "a:2:1: early [x]\na:9:1: late [x]" == str(error)

    def test_request_error_names_every_field(self) -> None:
        """
        All fields of a request that cannot be taken are said at once.
        """
        error = RequestError(iter([Violation("messages", "is empty"), Violation("limits.hops", "is negative")]))

        assert 2 == len(error.violations)
        assert "messages: is empty; limits.hops: is negative" == str(error)

    def test_stopped_walk_can_be_found_again(self) -> None:
        """
        An error that ended a walk says which walk, where, and in which scope.
        """
        error = BudgetExceeded("too dear", traversal_id="t-1", node="large", error_class="budget", scope="request")

        assert ("too dear", "t-1", "large", "budget", "request") == (
            str(error), error.traversal_id, error.node, error.error_class, error.scope,
        )  # fmt: skip

    def test_backend_error_has_the_class_edges_choose_by(self) -> None:
        """
        A provider's failure is known by its class, and by whether it may be charged.
        """
        busy, limited = Overloaded("503", backend="large", billable=True), RateLimited("429", backend="large")

        assert ("overloaded", True) == (busy.error_class, busy.billable)
        assert ("rate_limited", False) == (limited.error_class, limited.billable)
        assert isinstance(busy, BackendError)

    def test_trace_error_names_the_plan_it_misses(self) -> None:
        """
        A record that cannot be used says whose plan it needs.
        """
        assert "abc" == TraceError("no such plan", plan_digest="abc").plan_digest

    @pytest.mark.parametrize(
        ("error", "retryable", "retry_after"),
        [
            (RequestError([Violation("messages", "is empty")]), False, None),
            (SetupError("no such package"), False, None),
            (BudgetExceeded("too dear", error_class="budget"), False, None),
            (BudgetContended("reserved by others", error_class="contended"), True, RETRY_SECONDS),
            (HopFailed("a filter", error_class="refused_by_model"), False, None),
            (HopFailed("busy", error_class="overloaded"), True, RETRY_SECONDS),
            (DeadlineExceeded("too slow", error_class="timeout"), False, None),
            (RequestInProgress("under way"), True, RETRY_SECONDS),
            (VaultUnavailable("no answer"), True, RETRY_SECONDS),
            (MeshClosed("closed"), True, RETRY_SECONDS),
            (TooManyWalks("too many"), True, RETRY_SECONDS),
            (Overloaded("503", backend="b"), True, None),
            (RateLimited("429", backend="b", retry_after_us=2_500_000), True, 2.5),
            (Malformed("no JSON", backend="b"), False, None),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_an_error_tells_whether_a_retry_may_help(
        self, error: MeshwalkError, retryable: bool, retry_after: float | None
    ) -> None:
        """
        One pair of attributes says of any error whether to send again, and when.
        """
        assert (retryable, retry_after) == (error.retryable, error.retry_after)

    def test_contention_is_no_spent_budget(self) -> None:
        """
        Who catches a spent budget does not catch one that others hold for a moment.
        """
        assert not issubclass(BudgetContended, BudgetExceeded)
