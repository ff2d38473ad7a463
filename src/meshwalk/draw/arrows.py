"""
The parts that every picture of a graph shows: its arrows, in the order they are tried, and the words on its nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshwalk.model import Edge, Graph, Node
from meshwalk.model.signals import Section


class Arrow(NamedTuple):
    """
    One way from a node to another.

    Args:
        condition: What must hold for it, empty where it is the only way.
        served: Whose answer is served, where the edge says so.
        position: Its edge's place in *section* of the node.
        otherwise: Whether it is the `else:` of its edge.
    """

    origin: str
    to: str
    condition: str
    served: str
    section: Section
    position: int
    numbered: bool = False
    otherwise: bool = False

    @property
    def dashed(self) -> bool:
        """
        Return whether it is taken after an error.
        """
        return self.section == "on_error"

    @property
    def words(self) -> str:
        """
        Return the text beside the arrow, without its number.
        """
        return ": ".join(part for part in (self.condition, self.served) if part)

    @property
    def label(self) -> str:
        """
        Return the text beside the arrow.
        """
        return f"{self.position + 1}: {self.words}" if self.numbered else self.words


def arrows(graph: Graph) -> Iterator[Arrow]:
    """
    Yield every edge of *graph* as an arrow, node by node, in the order in which edges are tried.
    """
    for node in graph.nodes.values():
        several = len(node.next) > 1
        for position, edge in enumerate(node.next):
            condition = (edge.when or "otherwise") if several else ""
            yield Arrow(node.name, edge.to, condition, _served(edge), "next", position, numbered=several)
        for position, edge in enumerate(node.on_error):
            classes = ", ".join(edge.classes) or "any error"
            yield Arrow(node.name, edge.to, classes, _served(edge), "on_error", position)
            if edge.otherwise is not None:
                whose = f"no reply of {edge.answer}" if edge.answer else "no answer yet"
                yield Arrow(node.name, edge.otherwise, classes, whose, "on_error", position, otherwise=True)


def lines(node: Node) -> list[str]:
    """
    Return the lines that every picture writes on *node*.
    """
    detail = node.backend or node.use

    return [node.name, f"{node.role} · {detail}" if detail else node.role]


def strangers(graph: Graph) -> list[str]:
    """
    List the targets of arrows that are no nodes of the graph: `done`, and names that a faulty graph does not have.
    """
    return list(dict.fromkeys(arrow.to for arrow in arrows(graph) if arrow.to not in graph.nodes))


def printable(text: str) -> str:
    """
    Return *text* with a space for whatever has no shape of its own.
    """
    return "".join(char if char.isprintable() else " " for char in text)


def _served(edge: Edge) -> str:
    return f"the answer of {edge.answer}" if edge.answer else ""
