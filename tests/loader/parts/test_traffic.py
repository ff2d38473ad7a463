"""
How backends may be called, from the text to the plan: endpoints, limits, breakers, pauses and hedges.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.loader import load_graph
from meshwalk.model import AnyBackendSpec, Backoff, Breaker, Endpoint, OpenAISpec, Traffic
from meshwalk.model.problems import GraphError
from meshwalk.model.signals import Kind, everywhere
from meshwalk.plan import compile_plan, restore
from tests.loader.reading import BACKENDS, HEAD, NODES, places, read, read_sound, with_node


GOOD = Path(__file__).resolve().parents[2] / "graphs" / "good" / "endpoints.yaml"
GRAPH = load_graph(GOOD)
PLAN = compile_plan(GRAPH)


def spec_of(keys: str) -> AnyBackendSpec:
    return read_sound(HEAD + f"backends:\n  s: {{kind: openai, model: m, {keys}}}\n" + NODES).backends["s"]


class TestBackends:
    def test_endpoints_have_their_own_names_limits_and_weights(self) -> None:
        """
        What an endpoint does not say is left to its backend, its name to its place.
        """
        spec = GRAPH.backends["large"]
        assert isinstance(spec, OpenAISpec)

        assert (
            Endpoint("west-1", "http://127.0.0.1:8001/v1", weight=0.5, concurrency=8),
            Endpoint("e2", "${EAST_URL}", "EAST_KEY", 3.0, requests_per_minute=60, tokens_per_minute=9_000),
            Endpoint("e3", key_env="THIRD_KEY"),
        ) == spec.endpoints
        assert (None, None) == (spec.base_url, spec.key_env)

    def test_traffic_is_read(self) -> None:
        """
        Limits, queue, stickiness and breaker are the backend's, whatever its kind.
        """
        assert (
            Traffic(
                requests_per_minute=600,
                tokens_per_minute=1_000_000,
                concurrency=32,
                queue=50,
                queue_wait_us=2_000_000,
                sticky="session",
                breaker=Breaker(failures=3, share=0.4, window_us=20_000_000, min_calls=8, open_us=5_000_000),
            )
            == GRAPH.backends["large"].traffic
        )
        assert Traffic(breaker=Breaker()) == GRAPH.backends["small"].traffic == spec_of("breaker: {}").traffic

    def test_what_holds_anyway_declares_nothing(self) -> None:
        """
        A backend that says no more than what holds unsaid is called without a gate.
        """
        spec = GRAPH.backends["free"]

        assert (None, False) == (spec.traffic, spec.gated)

    @pytest.mark.parametrize(
        ("key", "sound", "faulty"),
        [
            ("requests_per_minute", ["1", "1e9"], ["0", "1000000001", "1.5"]),
            ("tokens_per_minute", ["1", "1e12"], ["0", "1000000000001"]),
            ("concurrency", ["1", "1000000"], ["0", "1000001", "x"]),
            ("queue", ["{length: 0}", "{wait: 1us}"], ["3", "{length: -1}", "{wait: 0s}"]),
            ("breaker", ["{share: 1}", "{failures: 1}", "{calls: 1}"], ["true", "{share: 0}", "{failures: 0}", "{open: 0s}"]),
        ],
    )
    def test_bounds_of_numbers(self, key: str, sound: list[str], faulty: list[str]) -> None:
        """
        A number is taken up to its bounds and refused past them.
        """

        def codes(value: str) -> list[str]:
            return [
                problem.code
                for problem in read(HEAD + f"backends:\n  s: {{kind: simulated, {key}: {value}}}\n" + NODES).problems
            ]

        assert [[]] * len(sound) == [codes(value) for value in sound]
        assert [1] * len(faulty) == [len(codes(value)) for value in faulty]

    def test_a_faulty_endpoint_hides_no_other(self) -> None:
        """
        Endpoints are read one by one, and those that are sound are there for the rest of the house.
        """
        graph = read(HEAD + "backends:\n  s: {kind: openai, model: m, endpoints: [{weight: none}, 5, {name: east}]}\n" + NODES)
        spec = graph.backends["s"]

        assert [("wrong-type", 5, 52), ("wrong-type", 5, 59)] == places(graph.problems)
        assert isinstance(spec, OpenAISpec)
        assert ["e1", "east"] == [endpoint.name for endpoint in spec.endpoints]


class TestNodes:
    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ("retries: 1", Backoff(100_000, 2_000_000)),
            ("backoff: {}", Backoff(100_000, 2_000_000)),
            ("backoff: {first: 3s}", Backoff(3_000_000, 3_000_000)),
            ("backoff: {most: 50ms}", Backoff(50_000, 50_000)),
            ("backoff: {first: 0s}", Backoff(0, 2_000_000)),
            ("backoff: {first: 1s, most: 4s}", Backoff(1_000_000, 4_000_000)),
        ],
    )
    def test_backoff(self, keys: str, expected: Backoff) -> None:
        """
        What is said of the one bound moves the other, where that is not said.
        """
        graph = with_node(keys)

        assert ((), expected) == (graph.problems, graph.nodes["a"].backoff)

    def test_hedge(self) -> None:
        """
        A hedge is a delay, and comes before the node's time is over.
        """
        assert [800_000, None] == [with_node(keys).nodes["a"].hedge_us for keys in ("hedge: 800ms", "retries: 1")]
        assert () == with_node("hedge: 999ms, deadline: 1s, attempt_timeout: 1s").problems
        assert ["hedge-too-late"] == [problem.code for problem in with_node("hedge: 1s, deadline: 1s").problems]


class TestPlans:
    def test_the_canonical_form_reads_back(self) -> None:
        """
        A stored plan is the same plan, with all that decides and without where its endpoints are.
        """
        again = restore(PLAN.canonical)

        assert (PLAN.plan_digest, PLAN.shape_digest) == (again.plan_digest, again.shape_digest)
        assert {node.name: (node.backoff, node.hedge_us) for node in GRAPH.nodes.values()} == {
            node.name: (node.backoff, node.hedge_us) for node in again.graph.nodes.values()
        }
        assert {name: spec.traffic for name, spec in GRAPH.backends.items()} == {
            name: spec.traffic for name, spec in again.graph.backends.items()
        }
        assert not any(word in PLAN.canonical for word in (b"127.0.0.1", b"EAST", b"_KEY"))

    def test_the_order_of_endpoints_decides_nothing(self) -> None:
        """
        Named endpoints may be listed in any order.
        """
        east, west = "{name: east}", "{name: west, weight: 2}"
        one, other = (
            compile_plan(
                read_sound(HEAD + f"backends:\n  s: {{kind: openai, model: m, endpoints: [{', '.join(order)}]}}\n" + NODES)
            )
            for order in ([east, west], [west, east])
        )

        assert one.plan_digest == other.plan_digest

    @pytest.mark.parametrize(
        "change",
        [
            *(("concurrency: 32", "concurrency: 33"), ("wait: 2s", "wait: 3s"), ("open: 5s", "open: 6s")),
            *(("sticky: session", "sticky: workflow"), ("weight: 3", "weight: 4"), ("name: west-1", "name: west-2")),
            *(("hedge: 800ms", "hedge: 900ms"), ("first: 0s", "first: 1ms"), ("breaker: {failures: 5}", "concurrency: 5")),
        ],
    )
    def test_what_decides_changes_the_digest(self, change: tuple[str, str]) -> None:
        """
        How a backend is called is part of what a plan is.
        """
        text = GOOD.read_text(encoding="utf-8")
        assert change[0] in text

        assert PLAN.plan_digest != compile_plan(read_sound(text.replace(*change))).plan_digest


class TestHealth:
    def test_only_what_has_a_gate_has_a_health(self) -> None:
        """
        `backend.<name>.healthy` is true or false, known before any call, where somebody watches.
        """
        found = {name: signal for name, signal in everywhere(GRAPH).items() if name.startswith("backend.")}

        assert ["backend.large.healthy", "backend.small.healthy"] == list(found)
        assert {(Kind.BOOL, False)} == {(signal.kind, signal.optional) for signal in found.values()}

    def test_a_plan_watches_what_guards_read(self) -> None:
        """
        A plan names the backends whose health some guard reads, each with its slot; what none reads is not asked for.
        """
        slots = PLAN.slots

        assert ((slots["backend.large.healthy"], "large"), (slots["backend.small.healthy"], "small")) == PLAN.watched
        assert () == compile_plan(read_sound(HEAD + BACKENDS + NODES)).watched

    def test_nobody_asks_after_what_is_not_watched(self) -> None:
        """
        A guard that asks for the health of a backend without a gate is told that there is no such signal.
        """
        text = (
            HEAD
            + BACKENDS
            + "nodes:\n  a: {role: answer, backend: s, next: [{to: done, when: backend.s.healthy}, {to: done}]}\n"
        )
        graph = read_sound(text)
        with pytest.raises(GraphError, match=r"unknown signal 'backend\.s\.healthy'"):
            compile_plan(graph)
