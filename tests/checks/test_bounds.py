"""
The worst that walks can do: by hand, against a slow twin, and against walks whose calls do their worst.
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.base import ChatRequest
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.checks import bounds, worst_case
from meshwalk.checks.bounds import COSTLIEST, Bounds, bound
from meshwalk.engine import Engine
from meshwalk.model import DONE, Edge, Graph, Node, Price, Sampling, SimulatedSpec
from meshwalk.model.problems import Overloaded, Span
from meshwalk.plan import Plan
from meshwalk.trace import Reply, Traversal, Usage
from tests.support.instruction_counts import instructions
from tests.support.plans import plan_of
from tests.support.random_plans import REASONS, Worst, plans, requests


SPAN = Span("g.yaml", 1, 1)

DESK = """
    meshwalk: 1
    name: desk
    start: intake
    limits: {hops: 6, deadline: 20s, cost_usd: 0.50, input_bytes: 16000, output_tokens: 4000}
    backends:
      little: {kind: simulated, context_tokens: 32000, usd_per_mtok: {input: 0.05, output: 0.15}}
      great: {kind: simulated, context_tokens: 128000, usd_per_mtok: {input: 10, output: 30}}
    nodes:
      intake:
        role: classifier
        use: features
        next: [{to: primary, when: signals.complexity > 0.5}, {to: screen}]
      screen:
        role: answer
        backend: little
        max_tokens: 256
        deadline: 4s
        next: [{to: done, when: "output.finish_reason == 'stop'"}, {to: primary}]
        on_error: primary
      primary:
        role: primary
        backend: great
        max_tokens: 1024
        deadline: 15s
        retries: 1
        next: done
        on_error: [{to: done, answer: screen, else: sorry}]
      sorry: {role: refusal, reason: no model could answer}
"""


def node(name: str, following: list[str], *, backend: str | None = "b", visits: int = 1, max_tokens: int = 1) -> Node:
    return Node(
        name=name, role="answer", span=SPAN, backend=backend, visits=visits, sampling=Sampling(max_tokens=max_tokens),
        next=tuple(Edge(to, SPAN, SPAN) for to in following),
    )  # fmt: skip


def graph_of(*nodes: Node) -> Graph:
    """
    Build a graph whose every call costs a nano-dollar a token written.
    """
    backend = SimulatedSpec(name="b", span=SPAN, price=Price(0, 1_000_000))

    return Graph(
        name="g", file="g.yaml", span=SPAN, start=nodes[0].name, start_span=SPAN, nodes={one.name: one for one in nodes},
        backends={"b": backend}, attributes={}, thresholds={},
    )  # fmt: skip


def ring(visits: int) -> Graph:
    """
    Build a draft and a review that go to and fro.
    """
    return graph_of(node("draft", ["review"], visits=visits, max_tokens=10), node("review", ["draft", DONE], visits=visits))


class TestByHand:
    def test_desk(self) -> None:
        """
        A cascade's worst is every rung at its worst: both attempts of the primary, after a screen that did not do.
        """
        found = plan_of(DESK).bounds
        # screen: 16,016 tokens in at 50 nano-dollars and 256 out at 150; primary, twice: 16,016 at 10,000 and 1,024 at 30,000.
        cost = 16_016 * 50 + 256 * 150 + 2 * (16_016 * 10_000 + 1_024 * 30_000)

        assert 382_599_200 == cost
        assert (4, ("intake", "screen", "primary", "sorry")) == found.hops[:2]
        assert (19_000_000, ("intake", "screen", "primary")) == found.latency_us[:2]
        assert (256 + 2 * 1024, ("intake", "screen", "primary")) == found.output_tokens[:2]
        assert (cost, ("intake", "screen", "primary")) == found.cost_nano_usd[:2]
        assert [
            ("intake", "screen", "primary"),
            ("intake", "screen", "primary", "sorry"),
        ] == sorted(one.path for one in found.paths[:2])
        assert ("intake", "screen") == found.paths[-1].path

    def test_walk_s_deadline_caps_and_stands_in(self) -> None:
        """
        A node without a deadline may take all of the walk's, and nodes together take no more than that.
        """
        without = DESK.replace("        deadline: 4s\n", "")

        assert 20_000_000 == plan_of(without).bounds.latency_us.value
        assert 15_000_000 == plan_of(without).bounds.stated_us.value

    def test_most_patient_caller_counts_where_nobody_states_a_deadline(self) -> None:
        """
        Without a deadline the longest that an urgency gives is the bound, ten minutes.
        """
        text = DESK.replace("deadline: 20s, ", "").replace("        deadline: 4s\n", "")

        assert 600_000_000 == plan_of(text).bounds.latency_us.value

    def test_attempt_timeouts_bound_as_well(self) -> None:
        """
        An attempt of two seconds ends before a deadline of fifteen, and a hedge of it three seconds after it began.
        """
        single = plan_of(DESK.replace("retries: 1", "attempt_timeout: 2s")).bounds
        hedged = plan_of(DESK.replace("retries: 1", "attempt_timeout: 2s\n        hedge: 1s")).bounds

        assert (6_000_000, 6_000_000) == (single.latency_us.value, single.stated_us.value)
        assert (7_000_000, 7_000_000) == (hedged.latency_us.value, hedged.stated_us.value)

    def test_only_a_deadline_bounds_retries(self) -> None:
        """
        A backend may ask a retry to wait for as long as it likes; what the node itself says adds up with its pauses.
        """
        text = DESK.replace(
            "retries: 1", "retries: 2\n        attempt_timeout: 2s\n        backoff: {first: 300ms, most: 500ms}"
        )
        found = plan_of(text).bounds

        assert (19_000_000, 10_800_000) == (found.latency_us.value, found.stated_us.value)

    def test_a_hedge_is_one_more_call(self) -> None:
        """
        A node that hedges may pay for one call more.
        """
        found = plan_of(DESK.replace("retries: 1", "retries: 1\n        hedge: 5s")).bounds

        assert 256 + 3 * 1024 == found.output_tokens.value
        assert 16_016 * 50 + 256 * 150 + 3 * (16_016 * 10_000 + 1_024 * 30_000) == found.cost_nano_usd.value
        assert 19_000_000 == found.latency_us.value

    def test_window_caps_the_input(self) -> None:
        """
        A window that is smaller than the largest input bounds what a call can cost.
        """
        text = DESK.replace("context_tokens: 128000", "context_tokens: 2000")
        cost = 16_016 * 50 + 256 * 150 + 2 * (2_000 * 10_000 + 1_024 * 30_000)

        assert cost == plan_of(text).bounds.cost_nano_usd.value

    def test_hops_cut_a_path(self) -> None:
        """
        What lies behind the last hop costs nothing.
        """
        found = plan_of(DESK.replace("hops: 6", "hops: 2")).bounds

        assert (2, 381_760_000) == (found.hops.value, found.cost_nano_usd.value)
        assert ("intake", "primary") == found.cost_nano_usd.path


class TestUnbounded:
    @pytest.mark.parametrize(
        ("old", "new", "cost", "tokens"),
        [
            (", usd_per_mtok: {input: 10, output: 30}", "", "backend 'great' of node 'primary' has no usd_per_mtok", ""),
            (
                "context_tokens: 128000, usd_per_mtok: {input: 10, output: 30}}",
                "usd_per_mtok: {input: 10, output: 30}}",
                "node 'primary' has no max_tokens, and backend 'great' no context_tokens",
                "node 'primary' has no max_tokens, and backend 'great' no context_tokens",
            ),
        ],
    )
    def test_reason(self, old: str, new: str, cost: str, tokens: str) -> None:
        """
        Where nothing bounds a call there is no bound, but a reason and the way to that call.
        """
        text = DESK.replace(", cost_usd: 0.50", "").replace(", output_tokens: 4000", "")
        found = plan_of(text.replace(old, new).replace("        max_tokens: 1024\n", "")).bounds

        assert (None, cost) == (found.cost_nano_usd.value, found.cost_nano_usd.reason)
        assert "primary" in found.cost_nano_usd.path
        assert tokens == found.output_tokens.reason
        assert found.paths[0].cost_nano_usd is None

    @pytest.mark.parametrize(("window", "cost"), [("context_tokens: 500, ", 501), ("", None)])
    def test_quoted_words_of_any_length(self, window: str, cost: int | None) -> None:
        """
        A prompt that quotes an attribute of any length is bounded by a window or not at all.
        """
        found = plan_of(
            f"""
            meshwalk: 1
            name: g
            start: ask
            request: {{title: {{type: string, default: none}}}}
            backends: {{b: {{kind: simulated, {window}usd_per_mtok: {{input: 0.001, output: 0.001}}}}}}
            nodes: {{ask: {{role: answer, backend: b, max_tokens: 1, prompt: "{{{{ request.title }}}}", next: done}}}}
            """
        ).bounds

        assert cost == found.cost_nano_usd.value
        assert (window == "") == ("quotes request.title" in found.cost_nano_usd.reason)


class TestCycles:
    @pytest.mark.parametrize("visits", [1, 2, 3])
    def test_visits_bound_exactly(self, visits: int) -> None:
        """
        Two nodes that go to and fro are visited as often as they may be.
        """
        found = bound(ring(visits))

        assert (2 * visits, 11 * visits) == (found.hops.value, found.cost_nano_usd.value)
        assert ("draft", "review") * visits == found.cost_nano_usd.path

    def test_entangled_cycles_are_bounded_by_hops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Where places are too many to tell apart, hops bound alone, which is never too low.
        """
        monkeypatch.setattr(bounds, "_MAX_PLACES", 2)
        found = bound(ring(2))

        assert (16, 88) == (found.hops.value, found.cost_nano_usd.value)

    def test_what_cannot_be_counted_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Cycles past all counting have no bound on money, and still one on hops.
        """
        monkeypatch.setattr(bounds, "_MAX_PLACES", 2)
        monkeypatch.setattr(bounds, "_MAX_STEPS", 2)
        found = bound(ring(2))

        assert (4, None, ()) == (found.hops.value, found.cost_nano_usd.value, found.paths)
        assert "more ways of 16 hops than can be counted" in found.cost_nano_usd.reason


def every_walk(graph: Graph, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """
    Go through all walks, one after the other, as slowly and plainly as can be.
    """
    here = graph.nodes[path[-1]]
    edges = (*here.next, *here.on_error)
    targets = {to for edge in edges for to in (edge.to, edge.otherwise) if to}
    open_to = [to for to in targets if to != DONE and path.count(to) < graph.nodes[to].visits]
    if len(path) == (graph.limits.hops or 16):
        open_to = []
    if DONE in targets or not open_to or here.role == "refusal":
        yield path
    for to in open_to:
        yield from every_walk(graph, (*path, to))


def most(plan: Plan, path: tuple[str, ...]) -> int:
    """
    Add up what the calls on a path reserve at most.
    """
    facts = worst_case.largest_facts(plan.graph)

    nodes = [plan.node(name) for name in path]

    return sum((one.need(facts)[2] or 0) * (one.node.retries + 1 + (one.node.hedge_us is not None)) for one in nodes)


class TestLaws:
    @given(plan=plans(), data=st.data())
    def test_no_walk_exceeds_the_bounds(self, plan: Plan, data: st.DataObject) -> None:
        """
        Whatever calls do and whatever callers send, hops, time, tokens and money stay inside what was said before.
        """
        done = Worst(plan, data.draw(requests(plan)), data)
        found: Bounds = plan.bounds

        assert len(done.walk.path) <= (found.hops.value or 0)
        assert done.at <= (found.latency_us.value or 0)
        assert found.output_tokens.value is None or done.own.used.output_tokens <= found.output_tokens.value
        assert found.cost_nano_usd.value is None or done.own.used.cost_nano_usd <= found.cost_nano_usd.value

    @given(plan=plans())
    def test_bounds_are_what_some_walk_comes_to(self, plan: Plan) -> None:
        """
        Enumerating all walks finds the same longest one, the same most tokens, and the same paths.
        """
        walks = set(every_walk(plan.graph, (plan.graph.start,)))
        found = plan.bounds

        assert max(map(len, walks)) == found.hops.value
        assert found.hops.path in walks
        if found.output_tokens.value is not None:
            assert max(most(plan, path) for path in walks) == found.output_tokens.value
        assert min(COSTLIEST, len(walks)) == len(found.paths) == len({one.path for one in found.paths})
        assert {one.path for one in found.paths} <= walks
        if found.cost_nano_usd.value is not None:
            costs = [one.cost_nano_usd or 0 for one in found.paths]
            assert sorted(costs, reverse=True) == costs
            assert found.cost_nano_usd.value == costs[0]


class Dear:
    """
    Read and write as many tokens as a call may, or fail in a way that may be billed, as it is told.
    """

    waits = False

    def __init__(self, context_tokens: int | None, data: st.DataObject) -> None:
        self._window = 1 << 40 if context_tokens is None else context_tokens
        self._data = data

    async def chat(self, request: ChatRequest) -> Reply:
        if self._data.draw(st.integers(0, 2)) == 0:
            raise Overloaded("no", backend="b", billable=True)
        read = sum(len(message.content.encode()) + worst_case.OVERHEAD_TOKENS_PER_MESSAGE for message in request.messages)
        written = min(request.sampling.max_tokens or self._window, self._window)

        return Reply(
            "yes", finish_reason=self._data.draw(st.sampled_from(REASONS)), usage=Usage(min(read, self._window), written)
        )

    async def aclose(self) -> None:
        pass


class TestEngine:
    @pytest.mark.slow
    @given(plan=plans(), data=st.data())
    def test_no_record_shows_more_than_the_bounds(self, plan: Plan, data: st.DataObject) -> None:
        """
        What the engine itself calls, retries, assumes and charges stays inside the bounds, too.
        """
        records: list[Traversal] = []
        backends = {name: Dear(spec.context_tokens, data) for name, spec in plan.graph.backends.items()}
        anyio.run(Engine(plan, backends, records.append, vault=MemoryVault()).walk, data.draw(requests(plan)))
        (traversal,) = records
        cost, tokens = plan.bounds.cost_nano_usd.value, plan.bounds.output_tokens.value

        assert len(traversal.path) <= (plan.bounds.hops.value or 0)
        assert cost is None or traversal.cost_nano_usd <= cost
        assert tokens is None or traversal.usage.output_tokens <= tokens


class TestScale:
    @pytest.mark.parametrize("back", [0, 400], ids=["acyclic", "cyclic"])
    @pytest.mark.parametrize("hops", [16, 1000])
    def test_a_thousand_nodes(self, back: int, hops: int) -> None:
        """
        A thousand nodes with five thousand edges are bounded, whether hops or visits bound them.
        """
        found = bound(self.ring(1000, back, hops))

        assert hops == found.hops.value
        assert COSTLIEST == len(found.paths) or found.cost_nano_usd.value is None

    @pytest.mark.parametrize("back", [False, True], ids=["acyclic", "cyclic"])
    def test_work_grows_with_the_graph(self, back: bool) -> None:
        """
        Four times the nodes and edges are bounded with little more than four times the work.
        """

        def work(nodes: int) -> int:
            graph = self.ring(nodes, 2 * nodes // 5 if back else 0, 16)

            return instructions(lambda: bound(graph))

        assert work(200) < 6 * work(50)

    def ring(self, size: int, back: int, hops: int) -> Graph:
        """
        Make so many nodes with five edges each, of which the last *back* lead to the start again.
        """
        names = [f"n{number}" for number in range(size)]
        nodes = [
            node(
                name,
                [names[(number + step) % size] if number + step < size + back else DONE for step in range(1, 6)],
                visits=2 if back else 1,
                max_tokens=number + 1,
            )
            for number, name in enumerate(names)
        ]
        graph = graph_of(*nodes)

        return Graph(**{**{name: getattr(graph, name) for name in graph.__slots__}, "limits": graph.limits._replace(hops=hops)})
