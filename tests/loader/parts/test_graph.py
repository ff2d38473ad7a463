"""
What the loader makes of a sound graph, and of its parts.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.loader import load_graph, read_graph
from meshwalk.model import (
    Attribute,
    CacheSpec,
    Confidence,
    Edge,
    Graph,
    Limits,
    LocalSpec,
    Node,
    OpenAISpec,
    Price,
    PythonSpec,
    Recording,
    Sampling,
    SimulatedSpec,
    Template,
    Threshold,
)
from meshwalk.model.problems import GraphError, SetupError, Span
from meshwalk.plan import compile_plan, examine, restore
from tests.loader.reading import BACKENDS, HEAD, NODES, places, read, read_sound, with_node


GOOD = Path(__file__).resolve().parents[2] / "graphs" / "good" / "support-desk.yaml"
NOWHERE = Span("", 0, 0)


@pytest.fixture(scope="module")
def desk() -> Graph:
    graph = load_graph(GOOD)
    assert () == graph.problems

    return graph


class TestHeader:
    def test_top_level_keys(self, desk: Graph) -> None:
        """
        The header's keys arrive as written, a version that is a number as text.
        """
        assert ("support-desk", "4", "intake") == (desk.name, desk.version, desk.start)
        assert "The smallest model that can be trusted with each request." == desk.description
        assert (str(GOOD), str(GOOD.parent)) == (desk.file, desk.folder)

    def test_limits_are_whole_units(self, desk: Graph) -> None:
        """
        Durations are microseconds, money is nano-dollars.
        """
        assert Limits(8, 20_000_000, 500_000_000, 16_000, 4_000) == desk.limits

    def test_callers_may_set_what_is_listed(self, desk: Graph) -> None:
        """
        `sampling:` names what callers may set; without it they may set everything, with an empty list nothing.
        """
        assert ("temperature", "seed") == desk.allowed_sampling
        assert Sampling._fields == read_sound(HEAD + BACKENDS + NODES).allowed_sampling
        assert () == read_sound(HEAD + "sampling: []\n" + BACKENDS + NODES).allowed_sampling

    def test_recording(self, desk: Graph) -> None:
        """
        Content is recorded only where the graph says so.
        """
        assert Recording(True, ("house.privacy:mask",)) == desk.recording
        assert Recording(False, ()) == read_sound(HEAD + BACKENDS + NODES).recording

    def test_attributes(self, desk: Graph) -> None:
        """
        An attribute has its type, its bounds and its default.
        """
        task, effort, private = (replace(attribute, span=NOWHERE) for attribute in desk.attributes.values())

        assert Attribute("task", "string", NOWHERE, ("retrieval", "reasoning"), None, "reasoning", "What is asked for.") == task
        assert Attribute("effort", "number", NOWHERE, (), (0.0, 10.0), 5.0) == effort
        assert Attribute("private", "bool", NOWHERE) == private

    def test_thresholds(self, desk: Graph) -> None:
        """
        A threshold may be a bare number.
        """
        hard, confident = desk.thresholds.values()

        assert Threshold("complex", 0.62, hard.span, (0.0, 1.0), "From here on a request is hard.") == hard
        assert Threshold("confident", 0.8, confident.span) == confident

    @pytest.mark.parametrize(
        ("version", "said"),
        [("2", "2"), ('"1"', "the text '1'"), ("true", "true"), ("[1]", "a list"), ("9" * 5000, "inf")],
    )
    def test_another_version_is_said_as_it_stands(self, version: str, said: str) -> None:
        """
        Text is told from a number, and no number is repeated at any length.
        """
        (problem,) = [problem for problem in read(f"meshwalk: {version}").problems if problem.code == "unsupported-version"]

        assert f"'meshwalk' of the graph is {said}, and this meshwalk reads version 1" == problem.message

    @pytest.mark.parametrize("name", ["!own", "!own [a]", "!!int x y", '"\\0"'])
    def test_a_text_that_cannot_be_taken_is_one_fault(self, name: str) -> None:
        """
        What becomes of a value under a tag or without its control characters is not complained about.
        """
        graph = read(HEAD.replace("name: small", f"name: {name}") + BACKENDS + NODES)

        assert 1 == len(graph.problems)
        assert graph.problems[0].code in ("yaml-tag", "control-character")


class TestBackends:
    def test_each_kind(self, desk: Graph) -> None:
        """
        Each kind of backend becomes its own description, with prices in nano-dollars a million tokens.
        """
        small, large, inside, pretend, own = (replace(spec, span=NOWHERE) for spec in desk.backends.values())

        assert (
            OpenAISpec(
                name="small",
                span=NOWHERE,
                price=Price(50_000_000, 150_000_000),
                context_tokens=32_000,
                model="little:1b",
                base_url="http://127.0.0.1:11434/v1",
                template=Template(512, 16),
            )
            == small
        )
        assert isinstance(large, OpenAISpec)
        assert ("${LARGE_URL}", "LARGE_KEY") == (large.base_url, large.key_env)
        assert LocalSpec(name="inside", span=NOWHERE, price=Price(0, 0), threads=2, template=Template(32, 16)) == inside
        assert PythonSpec(name="own", span=NOWHERE, price=Price(0, 0), function="house.models:answer") == own
        assert (
            SimulatedSpec(
                name="pretend",
                span=NOWHERE,
                price=Price(1_000_000_000, 2_000_000_000),
                latency_p50_us=300_000,
                latency_p99_us=2_000_000,
                output_tokens=40,
                failure_rate=0.1,
                failure_class="overloaded",
                confidence=0.7,
                seed=7,
            )
            == pretend
        )

    def test_latency_without_a_tail_is_constant(self) -> None:
        """
        Where only the median latency is declared, the 99th percentile is the same.
        """
        graph = read_sound(HEAD + "backends: {s: {kind: simulated, latency: {p50: 2ms}}}\n" + NODES)
        backend = graph.backends["s"]

        assert isinstance(backend, SimulatedSpec)
        assert (2_000, 2_000) == (backend.latency_p50_us, backend.latency_p99_us)


class TestCaches:
    TEXT = (
        "backends:\n"
        "  s: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2, cached_input: 0.5}}\n"
        "  kept: {kind: cache, of: s%s}\n"
    )

    def cache(self, keys: str = "") -> CacheSpec:
        graph = read_sound(HEAD + self.TEXT % keys + NODES.replace("backend: s", "backend: kept"))
        spec = graph.backends["kept"]
        assert isinstance(spec, CacheSpec)

        return spec

    def test_what_it_does_not_say_is_the_others(self) -> None:
        """
        A cache costs at most what the other backend does and holds as much, unless it is said otherwise.
        """
        assert (Price(10**9, 2 * 10**9, 5 * 10**8), 1000) == (self.cache().price, self.cache().context_tokens)
        assert 500 == self.cache(", context_tokens: 500").context_tokens

    def test_what_a_miss_costs_is_no_cheaper_than_it_is(self) -> None:
        """
        A cache with a price of its own would settle misses at that, so it is refused where that is another.
        """
        text = HEAD + self.TEXT % ", usd_per_mtok: {input: 0, output: 0}" + NODES.replace("backend: s", "backend: kept")

        assert ["backend 'kept' keeps the replies of 's', and has another price than that"] == [
            problem.message for problem in read(text).problems
        ]

    def test_bounds_have_defaults(self) -> None:
        """
        Without a word, replies are kept ten minutes, ten thousand of them and 64 MiB.
        """
        spec = self.cache()

        assert (600_000_000, 10_000, 64 << 20) == (spec.ttl_us, spec.entries, spec.size_bytes)

    @pytest.mark.parametrize(
        ("said", "size"),
        [
            ("64MB", 64_000_000),
            ("64MiB", 64 << 20),
            ("1.5 kB", 1500),
            ("2KiB", 2048),
            ("1GB", 10**9),
            ("7B", 7),
            ("65536", 65536),
            ("1e6", 1_000_000),
        ],
    )
    def test_sizes_have_units(self, said: str, size: int) -> None:
        """
        A size is a number of bytes, or has a unit: kB and MB are decimal, KiB and MiB binary.
        """
        assert size == self.cache(f", size: {said}").size_bytes

    def test_it_may_stand_before_the_other(self) -> None:
        """
        The order of backends means nothing, and the other one counts as called.
        """
        backends = "backends:\n  kept: {kind: cache, of: s}\n  s: {kind: simulated, usd_per_mtok: {input: 1, output: 2}}\n"
        graph = read_sound(HEAD + backends + NODES.replace("backend: s", "backend: kept"))

        assert graph.backends["s"].price == graph.backends["kept"].price
        assert () == examine(graph)[1]

    def test_it_counts_with_the_others_tokenizer(self, tmp_path: Path) -> None:
        """
        A cache counts tokens as the other backend does, also in a plan that was stored and names no file.
        """
        (tmp_path / "t.json").write_text("{}", encoding="utf-8")
        text = (
            HEAD + (self.TEXT % "").replace("1000,", "1000, tokenizer: t.json,") + NODES.replace("backend: s", "backend: kept")
        )
        plan = compile_plan(read_graph(text.encode(), file="g.yaml", folder=str(tmp_path)))
        again = restore(plan.canonical)

        assert "t.json" == plan.graph.backends["kept"].tokenizer
        assert plan.graph.hashes["backends.s.tokenizer"] == plan.graph.hashes["backends.kept.tokenizer"]
        assert plan.plan_digest == again.plan_digest

    def test_spelling_does_not_decide(self) -> None:
        """
        A price that is written out and one that is the other's make the same plan.
        """
        nodes = NODES.replace("backend: s", "backend: kept")
        price = ", usd_per_mtok: {input: 1, output: 2, cached_input: 0.5}, context_tokens: 1000, ttl: 600s, size: 64MiB"
        plans = [compile_plan(read_sound(HEAD + self.TEXT % keys + nodes)) for keys in ("", price)]

        assert plans[0].plan_digest == plans[1].plan_digest


class TestNodes:
    def test_answer_with_every_key(self, desk: Graph) -> None:
        """
        Each key of an answer arrives in its field.
        """
        node = desk.nodes["first"]

        assert ("answer", "small", "A cheap first try.") == (node.role, node.backend, node.description)
        assert Sampling(256, 0.2, 0.9, 11, ("\n\n", "END")) == node.sampling
        assert (4_000_000, 1_500_000, 200_000) == (node.deadline_us, node.attempt_timeout_us, node.min_time_us)
        assert (2, 2) == (node.retries, node.visits)
        assert Confidence("mean_token_probability", node.places["confidence"], missing=0.0) == replace(
            node.confidence or Confidence("recorded", NOWHERE), span=node.places["confidence"]
        )

    def test_prescreen(self, desk: Graph) -> None:
        """
        A prescreen has what it sends, and what qualifies.
        """
        node = desk.nodes["filter"]

        assert "^yes" == node.qualified
        assert node.confidence is not None
        assert ("stated", "CONF: ([0-9.]+)", 0.0) == (node.confidence.source, node.confidence.pattern, node.confidence.missing)
        assert node.prompt is not None
        assert node.prompt.endswith("\n\n{{ prompt }} ({{ request.task }})")

    def test_verifier_classifier_and_refusal(self, desk: Graph) -> None:
        """
        Nodes without a call have what is theirs.
        """
        judge, intake, sorry = desk.nodes["judge"], desk.nodes["intake"], desk.nodes["sorry"]

        assert ("agreement", ("first", "second"), "number") == (judge.use, judge.of, judge.extract)
        assert ("features", None) == (intake.use, intake.backend)
        assert ("no model could answer", ()) == (sorry.reason, sorry.next)

    def test_integral_number_is_whole(self, desk: Graph) -> None:
        """
        `1e3` is a thousand, also where whole numbers are taken.
        """
        assert 1000 == desk.nodes["second"].sampling.max_tokens
        assert type(desk.nodes["second"].sampling.max_tokens) is int

    def test_defaults(self) -> None:
        """
        What is left out is what the model says.
        """
        node = read_sound(HEAD + BACKENDS + NODES).nodes["a"]

        assert Node(name="a", role="answer", span=node.span, backend="s", next=node.next, places=node.places) == node

    def test_places_are_of_values(self) -> None:
        """
        A node knows where the value of each key stands, and each item of a list.
        """
        places = with_node("stop: [x, yy]").nodes["a"].places

        assert (7, 30, 1) == places["backend"][1:]
        assert ((7, 51, 7), (7, 52, 1), (7, 55, 2)) == (places["stop"][1:], places["stop.0"][1:], places["stop.1"][1:])


class TestEdges:
    def test_name_is_short_for_one_edge(self, desk: Graph) -> None:
        """
        `next: x` and `on_error: x` are one edge without conditions.
        """
        second = desk.nodes["second"]

        assert ["judge"] == [edge.to for edge in second.next]
        assert ["hard"] == [edge.to for edge in second.on_error]
        assert second.next[0].span == second.next[0].to_span

    def test_error_edges(self, desk: Graph) -> None:
        """
        An error edge has its classes, also if it is only one, and what is served.
        """
        overloaded, timeout, rest = desk.nodes["first"].on_error

        assert ("rate_limited", "overloaded") == overloaded.classes
        assert (("timeout",), "done", "filter", "sorry") == (timeout.classes, timeout.to, timeout.answer, timeout.otherwise)
        assert ((), "sorry") == (rest.classes, rest.to)

    def test_id_and_answer(self, desk: Graph) -> None:
        """
        An edge may have an id, and say whose answer is served.
        """
        assert "strict" == desk.nodes["intake"].next[0].id
        assert "second" == desk.nodes["judge"].next[0].answer

    @pytest.mark.parametrize(
        ("guard", "column", "exact"),
        [
            ('"a > 1"', 28, True),
            ("'a > 1'", 28, True),
            ("a > 1", 27, True),
            ("'a == ''x'''", 28, False),
            (r'"a == \"x\""', 28, False),
        ],
    )
    def test_guard_knows_its_first_character(self, guard: str, column: int, exact: bool) -> None:
        """
        A guard's span starts at its text, inside the quotes; escapes make it inexact.
        """
        guarded = f"      - {{to: done, when:  {guard}}}\n      - {{to: done}}\n"
        node = read_sound(HEAD + BACKENDS + f"nodes:\n  a:\n    role: answer\n    backend: s\n    next:\n{guarded}").nodes["a"]
        edge = node.next[0]

        assert (11, column, exact) == (
            edge.when_span and edge.when_span.line,
            edge.when_span and edge.when_span.column,
            edge.exact,
        )

    @pytest.mark.parametrize("style", ["|", ">", ">-"])
    def test_guard_in_a_block_is_inexact(self, style: str) -> None:
        """
        A guard in a folded or literal block is marked at the block's mark, and its columns do not map.
        """
        guarded = f"      - to: done\n        when: {style}\n          a >\n          1\n      - to: done\n"
        edge = (
            read_sound(HEAD + BACKENDS + f"nodes:\n  a:\n    role: answer\n    backend: s\n    next:\n{guarded}")
            .nodes["a"]
            .next[0]
        )

        assert edge.when_span is not None
        assert (12, 15) == edge.when_span[1:3]
        assert not edge.exact


class TestOrder:
    @given(st.randoms(use_true_random=False))
    @settings(max_examples=20, deadline=None)
    def test_order_of_keys_changes_nothing(self, random: object) -> None:
        """
        The same graph with its keys in another order is the same graph, but for the places.
        """

        def shuffled(value: object) -> object:
            if isinstance(value, dict):
                items = [(key, shuffled(inner)) for key, inner in value.items()]
                random.shuffle(items)  # type: ignore[attr-defined]
                return dict(items)
            return [shuffled(item) for item in value] if isinstance(value, list) else value

        document = yaml.safe_load(GOOD.read_text(encoding="utf-8").replace("1e3", "1000"))
        text = yaml.safe_dump(shuffled(document), sort_keys=False)

        assert _without_places(load_graph(GOOD)) == _without_places(read(text))


def _without_places(graph: Graph) -> dict[str, object]:
    def edge(one: Edge) -> Edge:
        return replace(one, span=NOWHERE, to_span=NOWHERE, when_span=None, answer_span=None, otherwise_span=None, exact=True)

    def node(one: Node) -> Node:
        confidence = one.confidence and replace(one.confidence, span=NOWHERE)
        return replace(
            one,
            span=NOWHERE,
            next=tuple(map(edge, one.next)),
            on_error=tuple(map(edge, one.on_error)),
            confidence=confidence,
            places={},
        )

    return {
        "nodes": {name: node(one) for name, one in graph.nodes.items()},
        "backends": {name: replace(one, span=NOWHERE) for name, one in graph.backends.items()},
        "attributes": {name: replace(one, span=NOWHERE) for name, one in graph.attributes.items()},
        "thresholds": {name: replace(one, span=NOWHERE) for name, one in graph.thresholds.items()},
        "rest": (graph.name, graph.start, graph.limits, graph.allowed_sampling, graph.recording, graph.version),
        "problems": graph.problems,
    }


class TestFiles:
    def graph(self, folder: Path, backend: str) -> Path:
        path = folder / "g.yaml"
        path.write_text(HEAD + f"backends:\n  s: {{{backend}}}\n" + NODES, encoding="utf-8")

        return path

    @pytest.mark.parametrize(
        ("backend", "key"),
        [("kind: recorded, model: m, data: data/file.bin", "data"), ("kind: local, model: data/file.bin", "model")],
    )
    def test_named_file_is_hashed(self, tmp_path: Path, backend: str, key: str) -> None:
        """
        A file that a backend names is found beside the graph, and its hash is kept under the key that names it.
        """
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "file.bin").write_bytes(b"outcomes")
        graph = load_graph(self.graph(tmp_path, backend))

        assert () == graph.problems
        assert {f"backends.s.{key}": hashlib.sha256(b"outcomes").hexdigest()} == graph.hashes

    def test_missing_file(self, tmp_path: Path) -> None:
        """
        A file that is not there is a fault where it is named.
        """
        graph = load_graph(self.graph(tmp_path, "kind: recorded, model: m, data: none.jsonl"))

        assert [("missing-file", 5, 39)] == places(graph.problems)

    @pytest.mark.parametrize("name", ["data", "x" * 300, "g.yaml/x"])
    def test_what_is_no_file(self, tmp_path: Path, name: str) -> None:
        """
        A folder, a path through a file and a name that no file can have are faults too.
        """
        (tmp_path / "data").mkdir()
        graph = load_graph(self.graph(tmp_path, f"kind: recorded, model: m, data: {name}"))

        assert ["missing-file"] == [problem.code for problem in graph.problems]

    def test_a_file_past_the_limit_has_more(self, tmp_path: Path) -> None:
        """
        It is not read to its end, so nobody says how much there is.
        """
        path = tmp_path / "g.yaml"
        path.write_bytes(b"#" * (5 << 20))

        with pytest.raises(GraphError, match="at most 4,194,304 bytes, and this file has more"):
            load_graph(path)

    def test_given_hashes_leave_files_alone(self) -> None:
        """
        With hashes given, no file is looked for.
        """
        text = (HEAD + "backends:\n  s: {kind: recorded, model: m, data: none.jsonl}\n" + NODES).encode()
        graph = read_graph(text, file="stored", hashes={"backends.s.data": "abc"})

        assert () == graph.problems
        assert {"backends.s.data": "abc"} == graph.hashes

    def test_graph_that_is_not_there(self, tmp_path: Path) -> None:
        """
        Who names a graph that is not there is told so.
        """
        with pytest.raises(SetupError, match=r"nowhere\.yaml' cannot be read: No such file"):
            load_graph(tmp_path / "nowhere.yaml")

    def test_large_file_is_not_read_whole(self, tmp_path: Path) -> None:
        """
        A file past the bound is refused.
        """
        path = tmp_path / "large.yaml"
        path.write_bytes(b"#" * 5_000_000)
        with pytest.raises(GraphError, match="4,194,304 bytes"):
            load_graph(path)


class TestRecovery:
    def test_misspelt_key_is_read_as_it_was_meant(self) -> None:
        """
        One slip in a key is one fault: it is not missed under its right name, and what stands under it is still checked.
        """
        graph = read(HEAD + BACKENDS + "nodes:\n  a: {rol: answer, bakend: s, nxet: [{too: done, when: 5}]}\n")

        assert [("unknown-key", 7, 7), ("unknown-key", 7, 20), ("unknown-key", 7, 31), ("unknown-key", 7, 39)] == [
            place for place in places(graph.problems) if place[0] == "unknown-key"
        ]
        assert [("guarded-last-edge", 7, 50), ("wrong-type", 7, 56)] == [
            place for place in places(graph.problems) if place[0] != "unknown-key"
        ]
        assert ("answer", "s") == (graph.nodes["a"].role, graph.nodes["a"].backend)

    def test_faulty_value_leaves_the_rest(self) -> None:
        """
        A node with a faulty value is still there with its sound ones, for others refer to it.
        """
        graph = with_node("retries: many, deadline: 4s")

        assert ["wrong-type"] == [problem.code for problem in graph.problems]
        assert (0, 4_000_000) == (graph.nodes["a"].retries, graph.nodes["a"].deadline_us)
        assert frozenset() == graph.broken

    def test_faulty_confidence_is_known_to_be_there(self) -> None:
        """
        A faulty confidence raises no second complaint about guards that read it.
        """
        confidence = with_node("confidence: {from: guess}").nodes["a"].confidence

        assert confidence is not None
        assert 0.0 == confidence.missing

    @pytest.mark.parametrize("keys", ["next: 5", "role: wizard, next: done", "next: [{when: x}, {to: done}]"])
    def test_node_that_is_not_fully_known_is_broken(self, keys: str) -> None:
        """
        A node without a role or with lost edges is noted, so that nobody complains about what it may have led to.
        """
        role = "" if "role" in keys else "role: classifier, use: features, "
        graph = read(HEAD + f"nodes:\n  a: {{{role}{keys}}}\n")

        assert frozenset({"a"}) == graph.broken

    @pytest.mark.parametrize(
        "section", ["request:\n  x: {type: wrng}", "thresholds:\n  x: word", "backends:\n  x: {kind: python}"]
    )
    def test_other_broken_names_are_noted(self, section: str) -> None:
        """
        Attributes, thresholds and backends whose text is at fault are noted by name.
        """
        assert "x" in read(HEAD + section + "\nnodes:\n  a: {role: refusal, reason: none}\n").broken

    def test_no_mapping_is_no_graph(self) -> None:
        """
        A document that is no table of keys raises, for there is nothing to go on.
        """
        with pytest.raises(GraphError, match="a graph is a table of keys"):
            read("- a\n- b\n")


class TestValues:
    @pytest.mark.parametrize(("number", "help"), [("20", "did you mean 20s?"), ("-1", ""), ("9" * 400, "")])
    def test_a_number_is_no_duration(self, number: str, help: str) -> None:
        """
        Seconds are suggested where they would be taken.
        """
        (problem,) = read(HEAD + f"limits: {{deadline: {number}}}\n" + BACKENDS + NODES).problems

        assert ("bad-duration", help) == (problem.code, problem.help)

    @pytest.mark.parametrize(
        ("text", "microseconds"),
        [
            ("300ms", 300_000),
            ("4s", 4_000_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("7us", 7),
            ("0.000001s", 1),
            ("168h", 604_800_000_000),
        ],
    )
    def test_durations(self, text: str, microseconds: int) -> None:
        """
        A duration is whole microseconds.
        """
        assert microseconds == with_node(f"deadline: {text}").nodes["a"].deadline_us

    @pytest.mark.parametrize(
        "text", ["4", "4.5", "4 s", "-4s", "4sec", "1m30s", "s", "0.5us", "1e3s", ".5s", "0s", "169h", "[4s]", "٤s", "true"]
    )
    def test_what_is_no_duration(self, text: str) -> None:
        """
        Other spellings, zero and more than a week are refused at their place.
        """
        problems = with_node(f"deadline: {text}").problems

        assert [(7, 55)] == [problem.span[1:3] for problem in problems]
        assert problems[0].code in {"bad-duration", "out-of-range", "wrong-type"}

    @pytest.mark.parametrize(
        ("text", "nano"),
        [
            ("0", 0),
            ("0.05", 50_000_000),
            ("1e-9", 1),
            ("0.1", 100_000_000),
            ("123456.789012345", 123_456_789_012_345),
            ("30", 30_000_000_000),
        ],
    )
    def test_money(self, text: str, nano: int) -> None:
        """
        Money is whole nano-dollars, exactly as written.
        """
        assert nano == read_sound(HEAD + f"limits: {{cost_usd: {text}}}\n" + BACKENDS + NODES).limits.cost_nano_usd

    @pytest.mark.parametrize("text", ["-1", "1e-10", ".nan", ".inf", "true", "1 USD", "1e10"])
    def test_what_is_no_money(self, text: str) -> None:
        """
        Negative, endless, too fine and too large amounts are refused.
        """
        assert [(4, 20)] == [
            problem.span[1:3] for problem in read(HEAD + f"limits: {{cost_usd: {text}}}\n" + BACKENDS + NODES).problems
        ]

    @given(st.integers(0, 10**15))
    def test_money_comes_back(self, nano: int) -> None:
        """
        An amount printed in dollars is read as the same nano-dollars.
        """
        graph = read(HEAD + f"limits: {{cost_usd: {nano / 1e9!r}}}\n" + BACKENDS + NODES)

        assert nano == graph.limits.cost_nano_usd
