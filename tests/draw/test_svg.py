"""
A graph as SVG: everything is in it, readable, and safe to open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.checks.bounds import Worst
from meshwalk.draw import svg
from meshwalk.draw.arrows import arrows
from meshwalk.loader import load_graph
from meshwalk.model import Graph
from meshwalk.trace import Failed, Traversal
from tests.support.plans import plan_of
from tests.support.walks import WalkPair, began, traversal_of


FOLDER = Path(__file__).resolve().parents[1] / "graphs"
DESK = load_graph(FOLDER / "good" / "support-desk.yaml")
NASTY = st.text(alphabet=st.sampled_from('ab"\\|<>{}[]()#&;%`:-\n\r\t\x00\x7f\u2028\ufffe\ud800é🙂 ')) | st.text()
SVG = "{http://www.w3.org/2000/svg}"

LADDER = """
meshwalk: 1
name: ladder
start: small
backends:
  little: {kind: simulated, context_tokens: 500, usd_per_mtok: {input: 0.05, output: 0.15}}
  big: {kind: simulated, context_tokens: 500, usd_per_mtok: {input: 3, output: 12}}
nodes:
  small:
    role: answer
    backend: little
    visits: 2
    next:
      - {to: small, when: "output.finish_reason == 'length'"}
      - {to: done}
    on_error: large
  large: {role: primary, backend: big, next: done, on_error: sorry}
  sorry: {role: refusal, reason: too hard}
"""


def guarded_by(text: str) -> Graph:
    """
    Give the first edge of the desk another guard.
    """
    intake = DESK.nodes["intake"]
    edges = (replace(intake.next[0], when=text), *intake.next[1:])

    return replace(DESK, nodes={**DESK.nodes, "intake": replace(intake, next=edges)})


def groups(drawn: str, kind: str) -> list[ET.Element]:
    """
    Find the groups of a class.
    """
    return [group for group in ET.fromstring(drawn).iter(f"{SVG}g") if kind in (group.get("class") or "").split()]


def words(element: ET.Element) -> str:
    """
    Join what is written on something.
    """
    return " ".join("".join(text.itertext()) for text in element.iter(f"{SVG}text"))


def whole(element: ET.Element) -> str:
    """
    Read what a browser shows of something when it is pointed at.
    """
    return element.findtext(f"{SVG}title") or ""


def escalated() -> Traversal:
    """
    Walk up the ladder: the small model fails.
    """
    pair = WalkPair(plan_of(LADDER))
    pair.feed(began())
    pair.grant()
    pair.feed(Failed(0, 1, "overloaded", "too many", ()))
    pair.grant(1)
    pair.reply(2)

    return traversal_of(pair.steps, pair.live)


class TestContents:
    def test_every_node_is_there(self) -> None:
        """
        Each node has a group with its name, role, backend and price; `done` has one, too.
        """
        nodes = {group.get("data-node"): group for group in groups(svg(DESK), "node")}

        assert {*DESK.nodes, "done"} == nodes.keys()
        assert "primary" == nodes["hard"].get("data-role")
        assert "hard primary · large 10 in, 30 out USD/Mtok" == words(nodes["hard"])
        assert "filter prescreen · inside free" == words(nodes["filter"])
        assert words(nodes["first"]).endswith("up to 2 visits")

    def test_every_edge_is_there(self) -> None:
        """
        Each way has a line that says where it comes from, where it leads, and which edge it is; the start has one.
        """
        lines = groups(svg(DESK), "edge")
        told = Counter(
            (line.get("data-from"), line.get("data-to"), line.get("data-section"), line.get("data-edge"))
            for line in lines
            if line.get("data-start") is None
        )

        assert Counter((way.origin, way.to, way.section, str(way.position)) for way in arrows(DESK)) == told
        assert 1 == sum(line.get("data-start") is not None for line in lines)

    def test_guards_are_numbered_and_whole_in_titles(self) -> None:
        """
        A label begins with its place in the order; what does not fit is cut there and whole in the title.
        """
        guard = " && ".join(f"signals.tokens > {number}" for number in range(20))
        label = next(label for label in groups(svg(guarded_by(guard)), "label") if "tokens" in whole(label))

        assert f"intake → hard\n1: {guard}" == whole(label)
        assert words(label).startswith("1 signals.tokens > 0")
        assert words(label).endswith("…")

    def test_errors_are_dashed_with_their_classes(self) -> None:
        """
        Lines after an error are dashed and say which classes they take; others are not.
        """
        drawn = svg(DESK)
        dashes = {
            section: {
                path.get("stroke-dasharray") is not None
                for line in groups(drawn, "edge")
                if line.get("data-section") == section
                for path in line.iter(f"{SVG}path")
                if path.get("fill") == "none"
            }
            for section in ("next", "on_error")
        }

        assert {"next": {False}, "on_error": {True}} == dashes
        assert "rate_limited, overloaded" in {words(label) for label in groups(drawn, "label")}

    def test_bounds_stand_at_the_foot(self) -> None:
        """
        The worst that a walk can come to is told with its way, and what is not bounded with the reason.
        """
        plan = plan_of(LADDER)
        drawn = svg(plan.graph, bounds=plan.bounds)
        boundless = svg(plan.graph, bounds=replace(plan.bounds, cost_nano_usd=Worst(None, ("large",), "nobody priced 'large'")))

        assert f"A walk comes to {plan.bounds.hops.value} hops, " in drawn
        assert f"Costliest: {' → '.join(plan.bounds.cost_nano_usd.path)}" in drawn
        assert "any cost at most." in boundless
        assert "Unbounded: nobody priced &#x27;large&#x27;" in boundless
        assert "A walk comes to" not in svg(plan.graph)

    def test_only_what_is_drawn_is_explained(self) -> None:
        """
        The legend names the kinds of lines that there are.
        """
        (plain,) = groups(svg(replace(DESK, nodes={"sorry": DESK.nodes["sorry"]}, start="sorry")), "legend")
        (looped,) = groups(svg(plan_of(LADDER).graph), "legend")

        assert "" == words(plain)
        assert "next, in the order tried on error, by class back to where a walk has been" == words(looped)

    @pytest.mark.parametrize("name", ["dangling", "ten-faults", "nodes", "cycles"])
    def test_faulty_graph_is_drawn_too(self, name: str) -> None:
        """
        What can be read of a graph with faults is drawn; names that no node has stand in boxes of their own.
        """
        graph = load_graph(FOLDER / "bad" / f"{name}.yaml")
        kinds = {group.get("data-node"): group.get("data-role") for group in groups(svg(graph), "node")}
        missing = {way.to for way in arrows(graph)} - {*graph.nodes, "done"}

        assert graph.nodes.keys() <= kinds.keys()
        assert dict.fromkeys(missing, "stranger") == {node: kind for node, kind in kinds.items() if kind == "stranger"}

    def test_the_same_graph_gives_the_same_picture(self) -> None:
        """
        Nothing of a picture is left to chance.
        """
        assert svg(DESK) == svg(load_graph(FOLDER / "good" / "support-desk.yaml"))


class TestReading:
    @pytest.mark.slow
    @settings(max_examples=20, deadline=None)
    @given(NASTY, NASTY)
    def test_no_text_breaks_the_markup(self, guard: str, name: str) -> None:
        """
        Whatever an author wrote, the picture is well-formed, and has as many parts as any.
        """
        drawn = svg(replace(guarded_by(guard), name=name, description=guard))

        assert len(groups(svg(DESK), "node")) == len(groups(drawn, "node"))
        assert len(groups(svg(DESK), "edge")) == len(groups(drawn, "edge"))

    @settings(max_examples=20, deadline=None)
    @given(NASTY)
    def test_all_text_lies_on_the_paper(self, text: str) -> None:
        """
        Every text begins and ends inside the picture, by the width of its letters, and what is long is cut.
        """
        root = ET.fromstring(svg(replace(guarded_by(text), name=text * 20, description=text * 50)))
        _, _, width, height = map(float, root.attrib["viewBox"].split())

        for label in root.iter(f"{SVG}text"):
            x, length = float(label.attrib["x"]), len("".join(label.itertext())) * float(label.attrib["font-size"]) * 0.55
            left = x - length / 2 if label.get("text-anchor") else x

            assert 0 < float(label.attrib["y"]) < height
            assert left >= 0
            assert left + length <= width

    def test_dark_and_light(self) -> None:
        """
        Colours are properties that follow the reader's mode; every painted part has a plain colour as well.
        """
        root = ET.fromstring(svg(DESK))
        style = root.findtext(f"{SVG}style") or ""
        painted = [part for part in root.iter() if part.get("class", "").startswith(("f-", "s-"))]
        plain = [part.get(name) for part in painted for name in ("fill", "stroke") if part.get(name) is not None]
        light, dark = style.split("@media (prefers-color-scheme:dark)")

        assert "--paper:#ffffff" in light
        assert "--paper:#12161c" in dark
        assert all(colour == "none" or colour.startswith("#") for colour in plain if colour is not None)
        # Who cannot read properties must not meet them outside of a rule that asks.
        assert "var(" not in light
        assert "var(" not in dark.partition("@supports")[0]


class TestWalked:
    def test_the_path_is_drawn_over_the_rest(self) -> None:
        """
        What a walk took is marked, hops are numbered, and the rest stands back.
        """
        walked = escalated()
        drawn = svg(plan_of(LADDER).graph, walked)
        taken = {(line.get("data-from"), line.get("data-to"), line.get("data-section")) for line in groups(drawn, "taken")}
        nodes = {group.get("data-node"): group for group in groups(drawn, "node")}

        assert {("small", "large", "on_error"), ("large", "done", "next")} <= taken
        assert ("small", "done", "next") not in taken
        assert words(nodes["large"]).endswith(" 2")
        assert (None, ".5") == (nodes["large"].get("opacity"), nodes["sorry"].get("opacity"))
        assert f"walk {walked.traversal_id[:12]}" in drawn

    def test_without_a_walk_nothing_stands_back(self) -> None:
        """
        A picture of the graph alone has no faint parts.
        """
        assert "opacity" not in svg(plan_of(LADDER).graph)

    def test_a_loop_is_drawn_beside_its_node(self) -> None:
        """
        An edge that leads back to its own node begins and ends at that node's side, with its guard.
        """
        labels = [whole(label) for label in groups(svg(plan_of(LADDER).graph), "label")]

        assert "small → small\n1: output.finish_reason == 'length'" in labels
