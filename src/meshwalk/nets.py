"""
What leads where: reachability, cycles and shortest ways in a directed graph of names.

These are textbook searches, written out because a library of all graph algorithms takes a fifth of a server's start to
import; tests compare them with one.  None of them recurses, so that a chain of ten thousand nodes is no matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator


class Net:
    """
    Hold nodes and the edges between them, in the order in which they were added.
    """

    def __init__(self, nodes: Iterable[str] = (), edges: Iterable[tuple[str, str]] = ()) -> None:
        self._heads: dict[str, dict[str, None]] = {node: {} for node in nodes}
        self.add(edges)

    def __contains__(self, node: str) -> bool:
        return node in self._heads

    def add(self, edges: Iterable[tuple[str, str]]) -> None:
        """
        Add *edges*, and the nodes at their ends.
        """
        for tail, head in edges:
            self._heads.setdefault(tail, {})[head] = None
            self._heads.setdefault(head, {})

    def has_edge(self, tail: str, head: str) -> bool:
        """
        Tell whether *tail* leads to *head* directly.
        """
        return head in self._heads[tail]

    def predecessors(self, node: str) -> list[str]:
        """
        Return what leads to *node* directly.
        """
        return [tail for tail, heads in self._heads.items() if node in heads]

    def among(self, nodes: Collection[str]) -> Net:
        """
        Return the net of *nodes* and the edges between them.
        """
        edges = ((tail, head) for tail, heads in self._heads.items() if tail in nodes for head in heads if head in nodes)

        return Net((node for node in self._heads if node in nodes), edges)

    def reached(self, start: str) -> set[str]:
        """
        Return *start* and all that can be reached from it.
        """
        return set(self.shortest_from(start))

    def shortest_from(self, start: str) -> dict[str, str]:
        """
        Return, for each node that can be reached from *start*, the one before it on a shortest way; *start* has itself.
        """
        before = {start: start}
        queue = [start]
        for tail in queue:
            for head in self._heads[tail]:
                if head not in before:
                    before[head] = tail
                    queue.append(head)

        return before

    def shortest(self, start: str, end: str) -> list[str]:
        """
        Return a shortest way from *start* to *end*, which can be reached.
        """
        return way_back(self.shortest_from(start), end)

    def postorder(self, start: str) -> list[str]:
        """
        Return all that can be reached from *start*, depth first, each node after those it leads to.
        """
        return list(self._left(start, {start}))

    def components(self) -> list[list[str]]:
        """
        Return the strongly connected components: the sets of nodes each of which leads to all others in it.
        """
        # Kosaraju's: against the edges, a search that takes nodes in the order of finishing stays within one component.
        seen: set[str] = set()
        finished: list[str] = []
        for node in self._heads:
            if node not in seen:
                seen.add(node)
                finished += self._left(node, seen)
        backwards = Net(self._heads, ((head, tail) for tail, heads in self._heads.items() for head in heads))
        placed: set[str] = set()
        components = []
        for node in reversed(finished):
            if node not in placed:
                placed.add(node)
                components.append(list(backwards._left(node, placed)))

        return components

    def _left(self, start: str, seen: set[str]) -> Iterator[str]:
        """
        Give what is newly *seen* from *start* on, each node when the search leaves it for good.
        """
        path = [(start, iter(self._heads[start]))]
        while path:
            tail, heads = path[-1]
            for head in heads:
                if head not in seen:
                    seen.add(head)
                    path.append((head, iter(self._heads[head])))
                    break
            else:
                path.pop()
                yield tail


def way_back(before: dict[str, str], end: str) -> list[str]:
    """
    Return the way to *end* of which *before* knows each node's predecessor, see `Net.shortest_from`.
    """
    way = [end]
    while before[way[-1]] != way[-1]:
        way.append(before[way[-1]])

    return way[::-1]
