"""
Files of cases: what they mean, and every fault of theirs at its place.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from meshwalk.loader import cases_path, load_cases, load_graph, read_cases, read_graph
from meshwalk.loader.casebook import Case, EdgeName, Scripted, Taking
from meshwalk.model import Amount, Limits
from meshwalk.model.problems import GraphError, Problem, SetupError, Span
from meshwalk.trace import Message, Scopes, Usage
from tests.loader.reading import places


GRAPH = read_graph(
    dedent("""\
    meshwalk: 1
    name: g
    start: intake
    budgets:
      session: {cost_usd: 1, calls: 9}
      tenant: {cost_usd: 20}
    request:
      patience: {type: number, range: [0, 10], default: 1}
      draft: {type: bool, default: false}
    backends:
      s: {kind: simulated}
    nodes:
      intake: {role: classifier, use: features, next: screen}
      screen:
        role: answer
        backend: s
        confidence: {from: recorded}
        next:
          - {to: done, when: "output.confidence > 0.5", id: sure}
          - {to: primary}
      primary:
        role: primary
        backend: s
        next: done
        on_error:
          - {to: done, answer: screen, else: sorry}
      teller:
        role: answer
        backend: s
        confidence: {from: stated, pattern: "CONF: ([0-9.]+)"}
        next: done
      sorry: {role: refusal, reason: nothing}
    """).encode(),
    file="g.yaml",
)


def read(text: str) -> tuple[Case, ...]:
    return read_cases(dedent(text).encode(), GRAPH, file="g.cases.yaml")


def faults(text: str) -> tuple[Problem, ...]:
    with pytest.raises(GraphError) as caught:
        read(text)

    return caught.value.problems


def given(keys: str) -> str:
    """
    Write a file of one case that is given *keys* beside its messages.
    """
    return f"cases:\n- name: a\n  given: {{messages: hello, {keys}}}\n  expect: {{outcome: answered}}\n"


def expecting(keys: str) -> str:
    """
    Write a file of one case that expects *keys*.
    """
    return f"cases:\n- name: a\n  given: {{messages: hello}}\n  expect: {{{keys}}}\n"


class TestMeaning:
    def test_everything_given_is_read(self) -> None:
        """
        A case holds the request, the signals, and a script for each node that replies.
        """
        (case,) = read("""\
            cases:
            - name: all there is
              given:
                messages: [{role: system, content: Be brief.}, {role: user, content: hello, name: ada}]
                attributes: {patience: 3, draft: true, urgency: realtime}
                limits: {hops: 3, deadline: 2s, cost_usd: 0.01, input_bytes: 99, output_tokens: 50}
                session: s-1
                workflow: w-1
                spent: {session: {cost_usd: 0.5, input_tokens: 5, output_tokens: 4, calls: 3, hops: 2}, tenant: {calls: 1e3}}
                signals: {complexity: 0.5, tokens: 12}
                replies:
                  screen:
                    {text: hi, confidence: 0.9, finish_reason: length,
                     usage: {input: 3, output: 1, cached_input: 2, reasoning: 1}, cost_usd: 0.5, latency: 2ms}
                  primary: [{error: timeout}, {error: overloaded, latency: 1s}, {}]
              expect: {outcome: answered}
            """)

        assert ("all there is", Span("g.cases.yaml", 2, 9, 12)) == (case.name, case.span)
        assert (Message("system", "Be brief."), Message("user", "hello", "ada")) == case.messages
        assert {"patience": 3, "draft": True, "urgency": "realtime"} == case.attributes
        assert Limits(3, 2_000_000, 10_000_000, 99, 50) == case.limits
        assert Scopes("s-1", "w-1") == case.scopes
        assert {"session": Amount(500_000_000, 5, 4, 3, 2), "tenant": Amount(calls=1000)} == case.spent
        assert {"complexity": 0.5, "tokens": 12.0} == case.signals
        assert (
            Scripted(
                text="hi",
                confidence=0.9,
                finish_reason="length",
                usage=Usage(3, 1, 2, 1),
                cost_nano_usd=500_000_000,
                latency_us=2000,
            ),
        ) == case.scripts["screen"].replies
        assert case.scripts["screen"].endless
        assert (Scripted(error="timeout"), Scripted(error="overloaded", latency_us=1_000_000), Scripted()) == case.scripts[
            "primary"
        ].replies
        assert not case.scripts["primary"].endless

    def test_everything_expected_is_read(self) -> None:
        """
        An expectation knows its nodes, its edges and where it stands.
        """
        (case,) = read("""\
            cases:
            - name: a
              given: {messages: ''}
              expect:
                path: [intake, screen, done]
                takes: [screen -> done, error edge 1 of primary, sure, primary -> sorry]
                outcome: refused
                served: screen
                reason: nothing
                cause: no_answer
                cost_usd_at_most: 0.5
                scope: session
            """)
        expect = case.expect

        assert ("intake", "screen", "done") == expect.path
        assert [
            ((EdgeName("screen", "next", 0),), "done"),
            ((EdgeName("primary", "on_error", 0),), ""),
            ((EdgeName("screen", "next", 0),), ""),
            ((EdgeName("primary", "on_error", 0),), "sorry"),
        ] == [(taking.edges, taking.to) for taking in expect.takes]
        assert ("refused", "screen", "nothing", "no_answer") == (expect.outcome, expect.served, expect.reason, expect.cause)
        assert "session" == expect.scope
        assert 500_000_000 == expect.max_cost_nano_usd
        assert Span("g.cases.yaml", 11, 5, 16) == expect.spans["cost_usd_at_most"]

    @pytest.mark.parametrize(
        ("keys", "scopes"),
        [
            ("spent: {session: {calls: 1}}", Scopes("case")),
            ("spent: {session: {}}", Scopes("case")),
            ("spent: {session: {calls: 1}}, session: s-1", Scopes("s-1")),
            ("spent: {tenant: {calls: 1}}, workflow: w-1", Scopes(workflow="w-1")),
            ("limits: {hops: 2}", Scopes()),
        ],
    )
    def test_what_is_spent_of_needs_no_name(self, keys: str, scopes: Scopes) -> None:
        """
        A case is in a session of its own where it says what was spent of it; otherwise it is in none that it does not name.
        """
        (case,) = read(given(keys))

        assert scopes == case.scopes

    def test_one_edge_needs_no_list(self) -> None:
        """
        `takes` holds one edge as well as several.
        """
        (case,) = read(expecting("takes: edge 2 of screen"))

        assert (
            Taking("edge 2 of screen", Span("g.cases.yaml", 4, 19, 16), (EdgeName("screen", "next", 1),)),
        ) == case.expect.takes

    def test_edges_are_called_what_the_loader_calls_them(self) -> None:
        """
        An edge is printed as it may be written.
        """
        assert ["edge 2 of screen", "error edge 1 of primary"] == [
            str(EdgeName("screen", "next", 1)),
            str(EdgeName("primary", "on_error", 0)),
        ]


class TestPlaces:
    @pytest.mark.parametrize(
        ("keys", "found"),
        [
            ("replies: {scren: {text: x}}", ("unknown-node", 3, 38)),
            ("replies: {intake: {text: x}}", ("calls-nothing", 3, 38)),
            ("replies: {sorry: {text: x}}", ("calls-nothing", 3, 38)),
            ("replies: {screen: 4}", ("wrong-type", 3, 46)),
            ("replies: {screen: }", ("no-value", 3, 38)),
            ("replies: {screen: []}", ("no-value", 3, 38)),
            ("replies: {screen: [{text: x}, 3]}", ("wrong-type", 3, 58)),
            ("replies: {screen: {txet: x}}", ("unknown-key", 3, 47)),
            ("replies: {screen: {text: 3}}", ("wrong-type", 3, 53)),
            ("replies: {screen: {confidence: 2}}", ("out-of-range", 3, 59)),
            ("replies: {screen: {usage: {input: 3}}}", ("missing-key", 3, 47)),
            ("replies: {screen: {usage: {input: 3, output: 1, reasoning: 2}}}", ("out-of-range", 3, 87)),
            ("replies: {screen: {error: overlaoded}}", ("unknown-error", 3, 54)),
            ("replies: {screen: {error: budget}}", ("unknown-error", 3, 54)),
            ("replies: {screen: {error: timeout, text: x}}", ("unknown-key", 3, 63)),
            ("replies: {primary: {confidence: 0.5}}", ("unread-confidence", 3, 48)),
            ("replies: {teller: {confidence: 0.5}}", ("unread-confidence", 3, 47)),
            ("replies: {primary: {samples: [a, b]}}", ("unread-samples", 3, 48)),
            ("replies: {primary: {samples: [a]}}", ("list-too-short", 3, 57)),
            ("attributes: {patiense: 3}", ("unknown-attribute", 3, 41)),
            ("attributes: {patience: 11}", ("bad-attribute", 3, 51)),
            ("attributes: {draft: [1]}", ("wrong-type", 3, 48)),
            ("attributes: {draft: }", ("no-value", 3, 41)),
            ("attributes: 3", ("wrong-type", 3, 40)),
            ("signals: {complexty: 0.1}", ("unknown-signal", 3, 38)),
            ("signals: {complexity: 1.5}", ("out-of-range", 3, 50)),
            ("signals: {tokens: -1}", ("out-of-range", 3, 46)),
            ("signals: {tokens: .nan}", ("out-of-range", 3, 46)),
            ("signals: {tokens: many}", ("wrong-type", 3, 46)),
            ("limits: {cost: 1}", ("unknown-key", 3, 37)),
            ("session: 3", ("wrong-type", 3, 37)),
            ("workflow: ''", ("empty-text", 3, 38)),
            ("spent: 3", ("wrong-type", 3, 35)),
            ("spent: {sesion: {calls: 1}}", ("unknown-key", 3, 36)),
            ("spent: {request: {calls: 1}}", ("unknown-key", 3, 36)),
            ("spent: {workflow: {calls: 1}}", ("unknown-scope", 3, 36)),
            ("spent: {session: 0.5}", ("wrong-type", 3, 45)),
            ("spent: {session: {cost: 0.5}}", ("unknown-key", 3, 46)),
            ("spent: {session: {cost_usd: }}", ("no-value", 3, 46)),
            ("spent: {session: {cost_usd: -1}}", ("out-of-range", 3, 56)),
            ("spent: {session: {calls: 0.5}}", ("wrong-type", 3, 53)),
            ("limits: {deadline: 3}", ("bad-duration", 3, 47)),
            ("reply: {}", ("unknown-key", 3, 28)),
        ],
    )
    def test_of_what_is_given(self, keys: str, found: tuple[str, int, int]) -> None:
        """
        A slip in what is given is found where it stands, and alone.
        """
        assert [found] == places(faults(given(keys)))

    @pytest.mark.parametrize(
        ("keys", "found"),
        [
            ("", ("expects-nothing", 4, 3)),
            ("path: [intake, scren]", ("unknown-node", 4, 27)),
            ("path: [intake, done, screen]", ("done-not-last", 4, 27)),
            ("path: []", ("list-too-short", 4, 18)),
            ("path: intake", ("wrong-type", 4, 18)),
            ("served: scren", ("unknown-node", 4, 20)),
            ("served: sorry", ("serves-nothing", 4, 20)),
            ("outcome: anwsered", ("unknown-outcome", 4, 21)),
            ("cause: hop", ("unknown-cause", 4, 19)),
            ("scope: sesion", ("unknown-scope", 4, 19)),
            ("scope: workflow", ("unknown-scope", 4, 19)),
            ("cost_usd_at_most: cheap", ("wrong-type", 4, 30)),
            ("takes: screen", ("bad-edge", 4, 19)),
            ("takes: scren -> done", ("unknown-node", 4, 19)),
            ("takes: [screen -> done, screen -> sorry]", ("unknown-edge", 4, 36)),
            ("takes: edge 3 of screen", ("unknown-edge", 4, 19)),
            ("takes: edge 0 of screen", ("unknown-edge", 4, 19)),
            ("takes: error edge 1 of screen", ("unknown-edge", 4, 19)),
            ("takes: edge 1 of scren", ("unknown-node", 4, 19)),
            ("pth: [intake]", ("unknown-key", 4, 12)),
        ],
    )
    def test_of_what_is_expected(self, keys: str, found: tuple[str, int, int]) -> None:
        """
        A slip in what is expected is found where it stands, and alone.
        """
        assert [found] == places(faults(expecting(keys)))

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("- 1\n", ("not-cases", 1, 1)),
            ("{}\n", ("missing-key", 1, 1)),
            ("cases: 3\n", ("no-cases", 1, 8)),
            ("cases: []\n", ("no-cases", 1, 8)),
            ("cases:\n- hello\n", ("wrong-type", 2, 3)),
            ("cases: [{name: a, expect: {outcome: failed}}]\n", ("missing-key", 1, 9)),
            ("cases: [{name: a, given: {messages: x}}]\n", ("missing-key", 1, 9)),
            ("cases: [{given: {messages: x}, expect: {outcome: failed}}]\n", ("missing-key", 1, 9)),
            ("cases: [{name: a, given: {}, expect: {outcome: failed}}]\n", ("missing-key", 1, 19)),
            ("cases: [{name: a, given: {messages: 3}, expect: {outcome: failed}}]\n", ("wrong-type", 1, 37)),
            ("cases: [{name: a, given: {messages: }, expect: {outcome: failed}}]\n", ("no-value", 1, 27)),
            ("cases: [{name: a, given: {messages: []}, expect: {outcome: failed}}]\n", ("wrong-type", 1, 37)),
            ("cases: [{name: a, given: {messages: [{role: user}]}, expect: {outcome: failed}}]\n", ("missing-key", 1, 38)),
            ("cases: [{name: 3, given: {messages: x}, expect: {outcome: failed}}]\n", ("wrong-type", 1, 16)),
            ("case: []\n", ("unknown-key", 1, 1)),
        ],
    )
    def test_of_the_file(self, text: str, found: tuple[str, int, int]) -> None:
        """
        A file that is not put together as one of cases is told where.
        """
        assert found in places(faults(text))

    @pytest.mark.parametrize(
        ("keys", "remedy"),
        [
            ("spent: {request: {calls: 1}}", "leave it out: a request begins with nothing spent"),
            ("spent: {workflow: {calls: 1}}", "there are budgets of: session, tenant"),
        ],
    )
    def test_of_scopes_has_a_remedy(self, keys: str, remedy: str) -> None:
        """
        Where nothing can have been spent, a case is told what there is.
        """
        assert [remedy] == [fault.help for fault in faults(given(keys))]

    def test_two_cases_of_one_name(self) -> None:
        """
        The second of two cases of one name is at fault, and told where the first is.
        """
        one = "- {name: a, given: {messages: x}, expect: {outcome: failed}}\n"
        (fault,) = faults("cases:\n" + one + one)

        assert [("duplicate-case", 3, 10)] == places((fault,))
        assert "in line 2" in fault.message

    def test_signals_without_a_classifier(self) -> None:
        """
        Where no node computes signals, none can be given.
        """
        graph = read_graph(
            b"meshwalk: 1\nname: g\nstart: a\nbackends: {s: {kind: simulated}}\n"
            b"nodes:\n  a: {role: answer, backend: s, next: done}\n",
            file="g.yaml",
        )
        with pytest.raises(GraphError) as caught:
            read_cases(given("signals: {depth: 2}").encode(), graph, file="g.cases.yaml")

        assert [("unknown-signal", 3, 28)] == places(caught.value.problems)

    def test_all_at_once_and_in_order(self) -> None:
        """
        Faults of several cases come in one run, in file order.
        """
        found = faults(given("replies: {scren: {}}, limits: {hops: 0}") + expecting("served: nobody").removeprefix("cases:\n"))

        assert ["unknown-node", "out-of-range", "duplicate-case", "unknown-node"] == [fault.code for fault in found]

    def test_a_misspelt_name_is_asked_for(self) -> None:
        """
        A name that is nearly one of the graph's gets it as a remedy.
        """
        assert ["did you mean 'screen'?"] == [fault.help for fault in faults(expecting("served: scren"))]


class TestFiles:
    def test_cases_stand_beside_the_graph(self) -> None:
        """
        The cases of a graph are found by its name.
        """
        assert Path("graphs/desk.cases.yaml") == cases_path("graphs/desk.yaml")

    def test_no_cases_there(self, tmp_path: Path) -> None:
        """
        A graph without cases is told where they would stand.
        """
        graph = tmp_path / "g.yaml"
        graph.write_text("meshwalk: 1\nname: g\nstart: a\nnodes:\n  a: {role: refusal, reason: no}\n", encoding="utf-8")
        with pytest.raises(SetupError, match=r"the cases of '.*g\.yaml' in '.*g\.cases\.yaml' cannot be read"):
            load_cases(load_graph(graph))
