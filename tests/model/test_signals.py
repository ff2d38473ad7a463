"""
Which names a guard may speak on which edge, and which values a caller may send.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Attribute, Confidence, Graph, Node, Role, Threshold, Value
from meshwalk.model.problems import Span
from meshwalk.model.signals import FEATURES, Kind, accepts, attributes, everywhere, outputs, visible


HERE = Span("a.yaml", 1, 1)


def node(name: str, role: Role, *, missing: float | None = None, confident: bool = False) -> Node:
    return Node(name=name, role=role, span=HERE, confidence=Confidence("stated", HERE, missing=missing) if confident else None)


INTAKE, SCREEN, PRIMARY = node("intake", "classifier"), node("screen", "answer", confident=True), node("primary", "primary")
GRAPH = Graph(
    name="desk", file="a.yaml", span=HERE, start="intake", start_span=HERE,
    nodes={"intake": INTAKE, "screen": SCREEN, "primary": PRIMARY},
    backends={},
    attributes={
        "task": Attribute("task", "string", HERE, enum=("reasoning", "formatting")),
        "pages": Attribute("pages", "number", HERE, default=1),
    },
    thresholds={"confident": Threshold("confident", 0.8, HERE, range=(0, 1))},
)  # fmt: skip


class TestVisible:
    def test_output_is_the_node_being_left(self) -> None:
        """
        `output.confidence` on an edge that leaves a node is that node's own, in the same slot.
        """
        seen = visible(GRAPH, SCREEN)

        assert seen["hop.screen.confidence"].slot == seen["output.confidence"].slot

    def test_own_output_is_sure_and_an_earlier_hop_s_is_not(self) -> None:
        """
        The node being left has just replied; whether another was visited, the types do not know.
        """
        seen = visible(GRAPH, PRIMARY)

        assert not seen["output.finish_reason"].optional
        assert seen["hop.primary.finish_reason"].optional
        assert seen["hop.screen.finish_reason"].optional

    @pytest.mark.parametrize(("missing", "optional"), [(None, True), (0.0, False)])
    def test_confidence_is_sure_where_its_absence_is_declared(self, missing: float | None, optional: bool) -> None:
        """
        A confidence that may be missing is optional unless the node says what it is then.
        """
        (confidence, *_) = outputs(node("screen", "answer", confident=True, missing=missing))

        assert ("hop.screen.confidence", optional) == (confidence.name, confidence.optional)

    @pytest.mark.parametrize("left", GRAPH.nodes.values(), ids=lambda left: left.name)
    def test_names_are_keys_and_only_thresholds_lack_a_slot_of_their_own(self, left: Node) -> None:
        """
        Each signal is found under its own name, and only a threshold is a constant.
        """
        seen = visible(GRAPH, left)

        assert list(seen) == [signal.name for signal in seen.values()]
        assert ["thresholds.confident"] == [name for name, signal in seen.items() if signal.constant is not None]

    def test_common_signals_can_be_given(self) -> None:
        """
        Asking with what `everywhere` gave is asking without, and leaves it as it was.
        """
        common = everywhere(GRAPH)
        before = dict(common)

        assert visible(GRAPH, SCREEN) == visible(GRAPH, SCREEN, common)
        assert before == common


class TestEverywhere:
    def test_features_need_a_classifier(self) -> None:
        """
        Signals that no node writes cannot be read.
        """
        assert all(f"signals.{feature}" in everywhere(GRAPH) for feature in FEATURES)

        bare = Graph(
            name="g", file="a", span=HERE, start="screen", start_span=HERE, nodes={"screen": SCREEN}, backends={},
            attributes={}, thresholds={},
        )  # fmt: skip

        assert not [name for name in everywhere(bare) if name.startswith("signals.")]

    def test_attribute_without_default_may_be_absent(self) -> None:
        """
        An attribute with a default is always there; one without is optional.
        """
        seen = everywhere(GRAPH)

        assert (True, ("reasoning", "formatting")) == (seen["request.task"].optional, seen["request.task"].members)
        assert (False, Kind.NUMBER) == (seen["request.pages"].optional, seen["request.pages"].kind)

    def test_built_in_attributes_have_defaults(self) -> None:
        """
        Every graph takes urgency and correctness, beside what it declares.
        """
        assert {"urgency": "interactive", "correctness": "standard", "task": None, "pages": 1} == {
            name: attribute.default for name, attribute in attributes(GRAPH).items()
        }

    def test_every_node_has_visits_and_status(self) -> None:
        """
        Whether a node was visited can always be asked.
        """
        seen = everywhere(GRAPH)

        assert not [name for name in GRAPH.nodes if seen[f"hop.{name}.visits"].optional or seen[f"hop.{name}.status"].optional]


@pytest.mark.parametrize(
    ("role", "written"),
    [
        ("classifier", []),
        ("prescreen", ["qualified", "label"]),
        ("answer", ["finish_reason", "output_tokens"]),
        ("primary", ["finish_reason", "output_tokens"]),
        ("verifier", ["agree", "score"]),
        ("refusal", []),
    ],
)
def test_role_says_what_a_node_writes(role: Role, written: list[str]) -> None:
    """
    A node's outputs follow from its role.
    """
    assert [f"hop.n.{name}" for name in written] == [signal.name for signal in outputs(node("n", role))]


class TestAccepts:
    TASK = Attribute("task", "string", HERE, enum=("reasoning", "formatting"))
    SHARE = Attribute("share", "number", HERE, range=(0, 1))
    FINAL = Attribute("final", "bool", HERE)
    PAGES = Attribute("pages", "number", HERE)
    NOTE = Attribute("note", "string", HERE)

    @pytest.mark.parametrize(
        ("attribute", "value", "why"),
        [
            (TASK, "reasoning", ""),
            (TASK, "poetry", "is 'poetry', and 'task' takes one of: reasoning, formatting"),
            (TASK, 1, "is a number, and 'task' takes text"),
            (TASK, True, "is true or false, and 'task' takes text"),
            (SHARE, 0, ""),
            (SHARE, 1.0, ""),
            (SHARE, 1.5, "is 1.5, and 'share' lies in 0 to 1"),
            (SHARE, "0.5", "is text, and 'share' takes a number"),
            (SHARE, True, "is true or false, and 'share' takes a number"),
            (SHARE, math.nan, "is not a number (NaN), and 'share' takes a number"),
            (PAGES, (1 << 63) - 1, ""),
            (PAGES, 1 << 63, "is a whole number of more than 64 bits, and 'pages' takes a smaller one"),
            (PAGES, -math.inf, "is infinite, and 'pages' takes a finite number"),
            (NOTE, "\ud800", "holds characters that are not Unicode text (lone surrogates), and 'note' takes text"),
            (FINAL, False, ""),
            (FINAL, 0, "is a number, and 'final' takes true or false"),
            (FINAL, "no", "is text, and 'final' takes true or false"),
        ],
    )
    def test_value_is_taken_or_told_why_not(self, attribute: Attribute, value: Value, why: str) -> None:
        """
        A value of the wrong type, outside the range or not among the members is refused in words.
        """
        assert why == accepts(attribute, value)

    @given(st.sampled_from([TASK, SHARE, FINAL]), st.text(max_size=5) | st.floats() | st.booleans())
    def test_what_is_taken_fits_the_signal(self, attribute: Attribute, value: Value) -> None:
        """
        An accepted value has the type, range and members its signal promises to guards.
        """
        if accepts(attribute, value):
            return

        assert {"string": str, "number": float, "bool": bool}[attribute.type] is type(value)
        assert not attribute.enum or value in attribute.enum
        assert attribute.range is None or attribute.range[0] <= float(value) <= attribute.range[1]
