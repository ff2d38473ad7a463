"""
A graph as Mermaid and as DOT.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.draw import dot, mermaid
from meshwalk.loader import load_graph
from meshwalk.model import Graph
from tests.support.files import Golden


FOLDER = Path(__file__).resolve().parents[1] / "graphs"
DESK = load_graph(FOLDER / "good" / "support-desk.yaml")

NASTY = st.text(alphabet=st.sampled_from('ab"\\|<>{}[]()#&;%`:-\n\r\t\x00\x7f\u2028é🙂 ')) | st.text()

_MERMAID_EDGE = re.compile(r'    \w+ (-->|-\.->)(?:\|"([^"]*)"\|)? n\d+')
_DOT_EDGE = re.compile(r'    "[^"]*" -> "[^"]*" \[label="((?:[^"\\]|\\.)*)"(, style=dashed)?\];')


def guarded_by(text: str) -> Graph:
    """
    Give the first edge of the desk another guard.
    """
    intake = DESK.nodes["intake"]
    edges = (replace(intake.next[0], when=text), *intake.next[1:])

    return replace(DESK, nodes={**DESK.nodes, "intake": replace(intake, next=edges)})


def mermaid_labels(drawn: str) -> Iterator[str]:
    for row in drawn.splitlines():
        edge = _MERMAID_EDGE.fullmatch(row)
        if edge is not None and edge[2]:
            yield re.sub(r"#(\d+);", lambda entity: chr(int(entity[1])), edge[2])


def dot_labels(drawn: str) -> Iterator[str]:
    for row in drawn.splitlines():
        edge = _DOT_EDGE.fullmatch(row)
        if edge is not None:
            yield html.unescape(re.sub(r"\\(.)", r"\1", edge[1]))


def printed(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


class TestPictures:
    def test_mermaid_reads_as_agreed(self, golden: Golden) -> None:
        """
        The desk as Mermaid is what the golden file says.
        """
        golden(FOLDER / "good" / "support-desk.mmd", mermaid(DESK))

    def test_dot_reads_as_agreed(self, golden: Golden) -> None:
        """
        The desk as DOT is what the golden file says.
        """
        golden(FOLDER / "good" / "support-desk.dot", dot(DESK))

    def test_every_way_is_drawn(self) -> None:
        """
        Both pictures have an arrow for the start, each edge and each `else`, errors dashed.
        """
        following = sum(len(node.next) for node in DESK.nodes.values())
        handling = sum(1 + (edge.otherwise is not None) for node in DESK.nodes.values() for edge in node.on_error)
        drawn, dotted = mermaid(DESK), dot(DESK)

        assert (following + 1, handling) == (drawn.count(" -->"), drawn.count(" -.->"))
        assert (following + handling + 1, handling) == (dotted.count(" -> "), dotted.count("style=dashed"))

    def test_faulty_graph_is_drawn_too(self) -> None:
        """
        Names that no node has are drawn, so that a picture helps where the graph is wrong.
        """
        graph = load_graph(FOLDER / "bad" / "dangling.yaml")

        assert '["scren"]' in mermaid(graph)
        assert '-> "scren"' in dot(graph)

    def test_words_of_the_languages_may_be_names(self) -> None:
        """
        A node called `end`, `graph` or `node` breaks neither picture.
        """
        sorry = DESK.nodes["sorry"]
        names = {name: replace(sorry, name=name) for name in ("end", "graph", "node", "start", "style")}
        graph = replace(DESK, nodes=names, start="end")

        assert 5 == len(re.findall(r'^    n\d>"(?:end|graph|node|start|style)<br/>refusal"\]$', mermaid(graph), re.MULTILINE))
        assert 5 == len(re.findall(r'^    "(?:end|graph|node|start|style)" \[', dot(graph), re.MULTILINE))


class TestEscapes:
    @given(NASTY)
    def test_no_guard_ends_a_mermaid_label(self, guard: str) -> None:
        """
        Whatever a guard holds, each row is an arrow still, and its label reads back as the guard.
        """
        drawn = mermaid(guarded_by(guard))

        assert len(mermaid(DESK).splitlines()) == len(drawn.splitlines())
        assert f"1: {printed(guard) or 'otherwise'}" == next(mermaid_labels(drawn))

    @given(NASTY)
    def test_no_guard_ends_a_dot_label(self, guard: str) -> None:
        """
        Whatever a guard holds, each row is an arrow still, and its label reads back as the guard.
        """
        drawn = dot(guarded_by(guard))

        assert len(dot(DESK).splitlines()) == len(drawn.splitlines())
        assert f"1: {printed(guard) or 'otherwise'}" == next(dot_labels(drawn))

    @pytest.mark.parametrize("mark", ['"', "|", "<", ">", "`", "%", ";", ":", "]", "&", "-", "*"])
    def test_marks_are_entities_in_mermaid(self, mark: str) -> None:
        """
        A mark that means something to Mermaid never stands in a label as itself.
        """
        label = re.search(r'n0 -->\|"(.*?)"\|', mermaid(guarded_by(f"a{mark}b")))

        assert label is not None
        assert f"1#58; a#{ord(mark)};b" == label[1]

    def test_names_of_backends_are_escaped(self) -> None:
        """
        What stands in a node's own label is escaped as well.
        """
        hard = replace(DESK.nodes["hard"], backend='x"]\nend')
        graph = replace(DESK, nodes={"hard": hard}, start="hard")

        assert '[["hard<br/>primary #183; x#34;#93; end"]]' in mermaid(graph)
        assert '[label="hard\\nprimary · x\\"] end"' in dot(graph)
