"""
Searches in a directed graph, beside a library that has them all.
"""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.nets import Net


NAMES = st.sampled_from("abcdefgh")
EDGES = st.lists(st.tuples(NAMES, NAMES), max_size=24)


def nets(edges: list[tuple[str, str]]) -> tuple[Net, nx.DiGraph]:
    library = nx.DiGraph()
    library.add_nodes_from("abcdefgh")
    library.add_edges_from(edges)

    return Net("abcdefgh", edges), library


class TestNet:
    @given(edges=EDGES, start=NAMES)
    def test_reached_is_all_that_edges_lead_to(self, edges: list[tuple[str, str]], start: str) -> None:
        """
        What is reached is the start and its descendants.
        """
        net, library = nets(edges)

        assert {start, *nx.descendants(library, start)} == net.reached(start)

    @given(edges=EDGES)
    def test_components_are_the_strong_ones(self, edges: list[tuple[str, str]]) -> None:
        """
        Nodes are together if each leads to the other, and every node is somewhere, once.
        """
        net, library = nets(edges)

        assert sorted(map(sorted, nx.strongly_connected_components(library))) == sorted(map(sorted, net.components()))

    @given(edges=EDGES, start=NAMES)
    def test_shortest_is_a_way_of_least_length(self, edges: list[tuple[str, str]], start: str) -> None:
        """
        A shortest way goes along edges, and no other is shorter.
        """
        net, library = nets(edges)
        lengths = nx.single_source_shortest_path_length(library, start)
        ways = {end: net.shortest(start, end) for end in net.reached(start)}

        assert dict(lengths) == {end: len(way) - 1 for end, way in ways.items()}
        assert all((way[0], way[-1]) == (start, end) for end, way in ways.items())
        assert all(library.has_edge(*edge) for way in ways.values() for edge in pairwise(way))

    @given(edges=EDGES, start=NAMES)
    def test_postorder_is_depth_first(self, edges: list[tuple[str, str]], start: str) -> None:
        """
        Nodes come in the order in which a depth-first search leaves them.
        """
        net, library = nets(edges)

        assert list(nx.dfs_postorder_nodes(library, start)) == net.postorder(start)

    @given(edges=EDGES, kept=st.sets(NAMES))
    def test_among_keeps_the_edges_within(self, edges: list[tuple[str, str]], kept: set[str]) -> None:
        """
        A part of a net has the edges whose both ends it has, and no other.
        """
        net, library = nets(edges)
        part = net.among(kept)

        assert kept == {name for name in "abcdefgh" if name in part}
        assert {(tail, head) for tail, head in library.edges if {tail, head} <= kept} == {
            (tail, head) for tail in kept for head in kept if part.has_edge(tail, head)
        }
        assert {head: sorted(library.subgraph(kept).predecessors(head)) for head in kept} == {
            head: sorted(part.predecessors(head)) for head in kept
        }

    def test_a_long_chain_is_no_matter(self) -> None:
        """
        Ten thousand nodes in a row are searched without recursion.
        """
        names = [f"n{number}" for number in range(10_000)]
        net = Net(names, pairwise(names))

        assert names == net.shortest("n0", "n9999")
        assert names[::-1] == net.postorder("n0")
        assert len(names) == len(net.components())
