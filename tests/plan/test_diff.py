"""
What changed in meaning: told exactly where a digest changed, and in words that fit.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.loader import load_graph, read_graph
from meshwalk.plan import Plan, compile_plan
from meshwalk.plan.diff import Difference, differences


GRAPHS = Path(__file__).resolve().parents[2] / "graphs"

DESK: dict[str, Any] = {
    "meshwalk": 1,
    "name": "desk",
    "start": "small",
    "request": {"task": {"type": "string", "enum": ["a", "b"], "default": "a"}},
    "thresholds": {"sure": {"value": 0.8, "range": [0, 1]}, "easy": {"value": 0.2, "range": [0, 1]}},
    "limits": {"hops": 6, "cost_usd": 0.5},
    "backends": {
        "little": {"kind": "openai", "model": "m", "context_tokens": 500, "usd_per_mtok": {"input": 0.05, "output": 0.15}},
        "great": {"kind": "openai", "model": "g", "breaker": {}, "endpoints": [{"name": "east"}, {"name": "west"}]},
        "big": {"kind": "simulated", "context_tokens": 500, "usd_per_mtok": {"input": 3, "output": 12}},
    },
    "nodes": {
        "small": {
            "role": "answer",
            "backend": "little",
            "max_tokens": 100,
            "confidence": {"from": "mean_token_probability", "missing": 0},
            "next": [
                {"to": "done", "when": "output.confidence >= thresholds.sure"},
                {"to": "sorry", "when": "request.task == 'b'", "id": "never_b"},
                {"to": "large", "when": "output.confidence < thresholds.easy"},
                {"to": "large"},
            ],
            "on_error": [{"class": ["timeout"], "to": "large"}, {"to": "sorry"}],
        },
        "large": {"role": "primary", "backend": "big", "max_tokens": 100, "next": "done", "on_error": "sorry"},
        "sorry": {"role": "refusal", "reason": "too hard"},
    },
}

Change = Callable[[dict[str, Any]], object]


def edges(desk: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Return the edges of the small node.
    """
    found: list[dict[str, Any]] = desk["nodes"]["small"]["next"]

    return found


# Each with the one change that is told, as kind and place.
CHANGES: dict[str, tuple[Change, str, str, str]] = {
    "threshold": (
        lambda desk: desk["thresholds"]["sure"].update(value=0.7),
        "changed",
        "thresholds.sure.value",
        "'value' of threshold 'sure': 0.8 → 0.7",
    ),
    "range": (
        lambda desk: desk["thresholds"]["sure"].update(range=[0.5, 1]),
        "changed",
        "thresholds.sure.range",
        "'range' of threshold 'sure': [0.0,1.0] → [0.5,1.0]",
    ),
    "limit": (
        lambda desk: desk["limits"].update(deadline="4s"),
        "added",
        "limits.deadline",
        "'deadline' in 'limits' is new: '4s'",
    ),
    "no limit": (
        lambda desk: desk["limits"].pop("cost_usd"),
        "removed",
        "limits.cost_usd",
        "'cost_usd' in 'limits' is gone, and was 0.5",
    ),
    "budget": (
        lambda desk: desk.update(budgets={"session": {"cost_usd": 2, "window": "1h"}}),
        "added",
        "budgets.session",
        "budget 'session' is new (cost_usd 2.0, window '3600s')",
    ),
    "price": (
        lambda desk: desk["backends"]["big"]["usd_per_mtok"].update(output=15),
        "changed",
        "backends.big.usd_per_mtok.output",
        "'output' in 'usd_per_mtok' of backend 'big': 12.0 → 15.0",
    ),
    "attribute": (
        lambda desk: desk["request"]["task"].update(enum=["a", "b", "c"]),
        "changed",
        "request.task.enum",
        """'enum' of attribute 'task': ["a","b"] → ["a","b","c"]""",
    ),
    "sampling": (
        lambda desk: desk.update(sampling=["seed"]),
        "changed",
        "sampling",
        """'sampling': ["max_tokens","seed","stop","temperature","top_p"] → ["seed"]""",
    ),
    "role": (
        lambda desk: desk["nodes"]["large"].update(role="answer"),
        "changed",
        "nodes.large.role",
        "'role' of node 'large': 'primary' → 'answer'",
    ),
    "prompt": (
        lambda desk: desk["nodes"]["large"].update(prompt="Think. {{ prompt }}"),
        "added",
        "nodes.large.prompt",
        "'prompt' of node 'large' is new: 'Think. {{ prompt }}'",
    ),
    "confidence": (
        lambda desk: desk["nodes"]["small"]["confidence"].update(missing=0.5),
        "changed",
        "nodes.small.confidence.missing",
        "'missing' in 'confidence' of node 'small': 0.0 → 0.5",
    ),
    "guard": (
        lambda desk: edges(desk)[0].update(when="output.confidence > thresholds.sure"),
        "changed",
        "nodes.small.next[0].when",
        (
            "'when' of the edge to 'done' when output.confidence > thresholds.sure of node 'small': "
            "'output.confidence >= thresholds.sure' → 'output.confidence > thresholds.sure'"
        ),
    ),
    "target": (
        lambda desk: edges(desk)[0].update(to="sorry"),
        "changed",
        "nodes.small.next[0].to",
        "'to' of the edge to 'sorry' when output.confidence >= thresholds.sure of node 'small': 'done' → 'sorry'",
    ),
    "named edge": (
        lambda desk: edges(desk)[1].update(to="large", when="request.task != 'a'"),
        "changed",
        "nodes.small.next[1].to",
        "'to' of the edge 'never_b' to 'large' when request.task != 'a' of node 'small': 'sorry' → 'large'",
    ),
    "new edge": (
        lambda desk: edges(desk).insert(1, {"to": "done", "when": "request.urgency == 'realtime'"}),
        "added",
        "nodes.small.next",
        "node 'small' has a new edge to 'done' when request.urgency == 'realtime', tried second",
    ),
    "no edge": (
        lambda desk: edges(desk).pop(2),
        "removed",
        "nodes.small.next",
        "node 'small' has lost its edge to 'large' when output.confidence < thresholds.easy, tried third",
    ),
    "order": (
        lambda desk: edges(desk).insert(0, edges(desk).pop(2)),
        "moved",
        "nodes.small.next",
        "node 'small' tries its edge to 'large' when output.confidence < thresholds.easy: third → first",
    ),
    "endpoint": (
        lambda desk: desk["backends"]["great"]["endpoints"][1].update(weight=2),
        "added",
        "backends.great.endpoints.west.weight",
        "'weight' of endpoint 'west' of backend 'great' is new: 2.0",
    ),
    "endpoint gone": (
        lambda desk: desk["backends"]["great"]["endpoints"].pop(),
        "removed",
        "backends.great.endpoints.west",
        "endpoint 'west' of backend 'great' is gone",
    ),
    "endpoint new": (
        lambda desk: desk["backends"]["great"]["endpoints"].append({"name": "north"}),
        "added",
        "backends.great.endpoints.north",
        "endpoint 'north' of backend 'great' is new",
    ),
    "breaker": (
        lambda desk: desk["backends"]["great"]["breaker"].update(failures=9),
        "changed",
        "backends.great.breaker.failures",
        "'failures' in 'breaker' of backend 'great': 5 → 9",
    ),
    "hedge": (
        lambda desk: desk["nodes"]["large"].update(hedge="2s"),
        "added",
        "nodes.large.hedge",
        "'hedge' of node 'large' is new: '2s'",
    ),
    "classes": (
        lambda desk: desk["nodes"]["small"]["on_error"][0].update({"class": ["timeout", "overloaded"]}),
        "changed",
        "nodes.small.on_error[0].class",
        (
            "'class' of the edge to 'large' for overloaded, timeout of node 'small' on error: "
            """["timeout"] → ["overloaded","timeout"]"""
        ),
    ),
}

NOTHING: dict[str, Change] = {
    "description": lambda desk: desk.update(description="words"),
    "version": lambda desk: desk.update(version="4"),
    "node's description": lambda desk: desk["nodes"]["large"].update(description="more words"),
    "address": lambda desk: desk["backends"]["little"].update(base_url="http://127.0.0.1:2/v1", key_env="LITTLE_KEY"),
    "order of endpoints": lambda desk: desk["backends"]["great"]["endpoints"].reverse(),
    "default": lambda desk: desk["nodes"]["small"].update(retries=0, visits=1),
    "spacing": lambda desk: edges(desk)[0].update(when="output.confidence>=thresholds.sure"),
    "spelling": lambda desk: desk["nodes"]["large"].update(next=[{"to": "done"}]),
}


def plan_of(desk: dict[str, Any], *, indent: int | None = None) -> Plan:
    """
    Compile a document, printed as JSON, which is YAML as well.
    """
    return compile_plan(read_graph(json.dumps(desk, indent=indent).encode(), file="desk.yaml"))


def changed(*changes: Change) -> dict[str, Any]:
    """
    Return the desk with changes made.
    """
    desk = copy.deepcopy(DESK)
    for change in changes:
        change(desk)

    return desk


def told(*changes: Change) -> list[Difference]:
    """
    Tell what changes made of the desk.
    """
    return differences(plan_of(DESK), plan_of(changed(*changes)))


def shuffled(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """
    Put the keys of everything in another order.
    """
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}

    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@st.composite
def desks(draw: st.DrawFn) -> Plan:
    """
    Make a variant of the desk, formatted anyhow.
    """
    names = st.lists(st.sampled_from(sorted({*CHANGES, *NOTHING} - {"role", "no edge"})), max_size=3, unique=True)
    desk = changed(*(CHANGES[name][0] if name in CHANGES else NOTHING[name] for name in draw(names)))
    edges(desk)[:-1] = draw(st.permutations(edges(desk)[:-1]))

    return plan_of(shuffled(desk, draw), indent=draw(st.sampled_from([None, 2])))


class TestBudgets:
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("cost_usd", 1, "'cost_usd' of budget 'session': 2.0 → 1.0"),
            ("window", "2h", "'window' of budget 'session': '3600s' → '7200s'"),
            ("calls", 9, "'calls' of budget 'session' is new: 9"),
            ("pressure_from", 0.5, "'pressure_from' of budget 'session' is new: 0.5"),
            ("required", True, "'required' of budget 'session' is new: true"),
            ("away", "local", "'away' of budget 'session' is new: 'local'"),
        ],
    )
    def test_all_that_decides_is_told(self, key: str, value: Any, message: str) -> None:
        """
        Whatever changes of a budget is told of, its window and what holds while its vault is away as well.
        """
        old = {"session": {"cost_usd": 2, "window": "1h"}}
        new = {"session": {**old["session"], key: value}}
        before, after = (plan_of({**DESK, "budgets": budgets}) for budgets in (old, new))

        assert [message] == [change.message for change in differences(before, after)]


class TestLaws:
    @pytest.mark.slow
    @settings(max_examples=60, deadline=None)
    @given(desks(), desks())
    def test_nothing_is_told_exactly_where_digests_are_equal(self, old: Plan, new: Plan) -> None:
        """
        There is no difference where the plan digests agree, and none but threshold values where the shape digests do.
        """
        found = differences(old, new)
        only_thresholds = all(re.fullmatch(r"thresholds\.\w+\.value", change.what) for change in found)

        assert (old.plan_digest == new.plan_digest) == (not found)
        assert (old.shape_digest == new.shape_digest) == only_thresholds

    @settings(max_examples=30, deadline=None)
    @given(desks(), desks())
    def test_the_way_back_tells_the_opposite(self, old: Plan, new: Plan) -> None:
        """
        What was added one way is removed the other, and as much is changed and moved.
        """
        there, back = ([change.kind for change in differences(*pair)] for pair in ((old, new), (new, old)))

        assert (there.count("added"), there.count("removed")) == (back.count("removed"), back.count("added"))
        assert (there.count("changed"), there.count("moved")) == (back.count("changed"), back.count("moved"))

    @settings(max_examples=15, deadline=None)
    @given(desks(), st.data())
    def test_format_is_no_difference(self, plan: Plan, data: st.DataObject) -> None:
        """
        A graph is the same as itself in another order of keys.
        """
        document = shuffled(json.loads(plan.canonical)["graph"], data.draw)

        assert [] == differences(plan, plan_of(document, indent=4))

    def test_a_shipped_graph_is_the_same_as_itself(self) -> None:
        """
        No graph differs from itself, and two graphs do.
        """
        first, second = (GRAPHS / "quickstart.yaml", GRAPHS / "gsm8k-agreement.yaml")

        assert [] == differences(compile_plan(load_graph(first)), compile_plan(load_graph(first)))
        assert [] != differences(compile_plan(load_graph(first)), compile_plan(load_graph(second)))


class TestSentences:
    @pytest.mark.parametrize("name", CHANGES)
    def test_a_change_is_told(self, name: str) -> None:
        """
        Each change has its kind, its place and a sentence.
        """
        change, kind, what, message = CHANGES[name]
        found = told(change)

        assert (kind, what, message) == (found[0].kind, found[0].what, found[0].message)
        assert len(found) == (2 if name == "named edge" else 1)

    @pytest.mark.parametrize("name", NOTHING)
    def test_what_means_the_same_is_not_told(self, name: str) -> None:
        """
        Words for people, addresses, defaults and spacing are no difference.
        """
        assert [] == told(NOTHING[name])

    def test_a_new_node_is_told_with_the_edge_to_it(self) -> None:
        """
        A node is told by its role and backend, and so is the way that leads there.
        """

        def change(desk: dict[str, Any]) -> None:
            desk["nodes"]["spare"] = {"role": "primary", "backend": "big", "max_tokens": 9, "next": "done", "on_error": "sorry"}
            desk["nodes"]["large"]["on_error"] = [{"class": ["timeout"], "to": "spare"}, {"to": "sorry"}]

        assert [
            "node 'large' on error has a new edge to 'spare' for timeout, tried first",
            "node 'spare' is new (role 'primary', backend 'big')",
        ] == [found.message for found in told(change)]

    def test_a_rename_is_not_guessed(self) -> None:
        """
        A node under another name is one gone, one new, and edges that lead elsewhere.
        """
        text = json.dumps(DESK).replace('"sorry"', '"pardon"')
        found = differences(plan_of(DESK), plan_of(json.loads(text)))

        assert {"node 'sorry' is gone", "node 'pardon' is new (role 'refusal')"} <= {change.message for change in found}
        assert 4 + 1 == len([change for change in found if change.what != "start"])

    def test_a_data_file_is_told_by_its_content(self, tmp_path: Path) -> None:
        """
        Other records behind the same name are a difference.
        """

        def plan(content: str) -> Plan:
            (tmp_path / "data.jsonl").write_text(content, encoding="utf-8")
            text = """
                meshwalk: 1
                name: desk
                start: only
                backends: {kept: {kind: recorded, model: m, data: data.jsonl, usd_per_mtok: {input: 1, output: 1}}}
                nodes: {only: {role: answer, backend: kept, max_tokens: 10, next: done}}
            """
            (tmp_path / "desk.yaml").write_text(text, encoding="utf-8")

            return compile_plan(load_graph(str(tmp_path / "desk.yaml")))

        found = differences(plan('{"a": 1}'), plan('{"a": 2}'))

        assert [("changed", "hashes.backends.kept.data")] == [(change.kind, change.what) for change in found]
        assert "the file that 'backends.kept.data' names has other content" == found[0].message

    def test_a_long_text_is_told_by_its_ends(self) -> None:
        """
        A sentence stays one even where prompts are pages.
        """
        (found,) = told(lambda desk: desk["nodes"]["large"].update(prompt="word " * 500 + "{{ prompt }}"))

        assert len(found.message) < 250
        assert len(found.new) > 2000


class TestEdges:
    def test_the_fewest_edges_move(self) -> None:
        """
        One edge put to the front is one move, not three.
        """
        assert ["moved"] == [change.kind for change in told(lambda desk: edges(desk).insert(0, edges(desk).pop(2)))]

    def test_a_move_and_a_change_are_two(self) -> None:
        """
        An edge with an id is followed, wherever it went and whatever it became.
        """

        def change(desk: dict[str, Any]) -> None:
            edge = edges(desk).pop(1)
            edges(desk).insert(0, {**edge, "when": "request.task != 'a'"})

        assert [("moved", "nodes.small.next"), ("changed", "nodes.small.next[0].when")] == [
            (found.kind, found.what) for found in told(change)
        ]

    def test_where_several_could_be_meant_none_is_guessed(self) -> None:
        """
        Two edges to one node whose guards both changed are two gone and two new.
        """

        def change(desk: dict[str, Any]) -> None:
            edges(desk)[1:3] = [{"to": "large", "when": f"signals.tokens > {number}"} for number in (1, 2)]

        found = [found.kind for found in differences(plan_with_classifier(), plan_with_classifier(change))]

        assert ["removed", "removed", "added", "added"] == found


def plan_with_classifier(*changes: Change) -> Plan:
    """
    Compile the desk with a classifier before it and two guarded edges to the large node.
    """

    def prepared(desk: dict[str, Any]) -> None:
        desk["start"] = "intake"
        desk["nodes"]["intake"] = {"role": "classifier", "use": "features", "next": "small"}
        edges(desk)[1:3] = [{"to": "large", "when": f"signals.depth > {number}"} for number in (1, 2)]

    return plan_of(changed(prepared, *changes))
