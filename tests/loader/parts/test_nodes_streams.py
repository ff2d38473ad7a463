"""
`stream:` on a node: when its replies are passed on.
"""

from __future__ import annotations

import pytest

from meshwalk.loader import read_graph
from meshwalk.plan import compile_plan, examine, restore
from tests.support.plans import plan_of


GRAPH = """
meshwalk: 1
name: streams
start: small
backends:
  little: {{kind: simulated}}
nodes:
  small:
    role: answer
    backend: little
    stream: {stream}
    confidence: {{from: mean_token_probability, missing: 0}}
    next: {next}
  large: {{role: primary, backend: little, next: done, on_error: {on_error}}}
  sorry: {{role: refusal, reason: no}}
"""
JUDGED = '[{to: done, when: "output.confidence > 0.5"}, {to: large}]'


def text(*, stream: str = "{hold_first: 8}", next: str = JUDGED, on_error: str = "sorry") -> str:
    return GRAPH.format(stream=stream, next=next, on_error=on_error)


def codes(given: str) -> list[tuple[str, int]]:
    problems = examine(read_graph(given.encode(), file="test.yaml"))[1]

    return [(problem.code, problem.span.line) for problem in problems if problem.severity == "error"]


@pytest.mark.parametrize(("given", "expected"), [("hold", None), ("live", 0), ("{hold_first: 8}", 8)])
def test_what_it_means(given: str, expected: int | None) -> None:
    """
    It holds a reply back, passes it on as it comes, or does so once its beginning was judged; a stored plan says the same.
    """
    # Without edges that judge it, the large one is there for when it fails.
    plan = plan_of(text(stream=given, next="done\n    on_error: large" if given == "live" else JUDGED))

    assert expected == plan.node("small").node.stream
    assert plan.plan_digest == restore(plan.canonical).plan_digest
    assert expected == restore(plan.canonical).node("small").node.stream


def test_live_decides_nothing_after() -> None:
    """
    What was passed on is served, so a live node has no edge but the one to done.
    """
    assert [("live-and-undecided", 13)] == [one for one in codes(text(stream="live")) if one[0] == "live-and-undecided"]


def test_a_stopped_reply_is_not_served() -> None:
    """
    Beyond a node whose reply may have been stopped nothing is there to be served of it.
    """
    found = codes(text(on_error="[{to: done}]"))

    assert "no-answer" in [code for code, _ in found]
    assert [] == codes(text(on_error="[{to: done, answer: small, else: sorry}]"))


def test_its_end_is_not_known_when_it_is_judged() -> None:
    """
    A guard that asks why a reply ended is told that this may be undetermined.
    """
    given = text(next="""[{to: done, when: "output.finish_reason == 'stop'"}, {to: large}]""")
    problems = examine(read_graph(given.encode(), file="test.yaml"))[1]

    assert "maybe-undetermined" in [problem.code for problem in problems]
    assert compile_plan(read_graph(given.encode(), file="test.yaml"))


@pytest.mark.parametrize("given", ["later", "{hold_first: 0}", "{hold_first: many}", "8", "{hold: 8}"])
def test_nonsense_is_told(given: str) -> None:
    """
    Anything else is a fault at its place.
    """
    assert 11 in [line for _, line in codes(text(stream=given))]


def test_samples_do_not_stream() -> None:
    """
    What is compared with others of its kind is not judged by its beginning.
    """
    given = text().replace("from: mean_token_probability", "from: agreement, samples: 3")

    assert [("samples-streamed", 11)] == codes(given)


@pytest.mark.parametrize(("given", "remedy"), [("true", "write `stream: live`"), ("false", "leave it out")])
def test_a_switch_is_told_what_was_meant(given: str, remedy: str) -> None:
    """
    Other tools switch streams on and off; here an author says when the answer is passed on.
    """
    problems = examine(read_graph(text(stream=given).encode(), file="test.yaml"))[1]

    assert [True] == [problem.help.startswith(remedy) for problem in problems if problem.code == "bad-stream"]
