"""
Where a picture's parts stand: nothing on anything, whatever the graph.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.draw.layout import Box, Layout, Route, arrange
from meshwalk.draw.rows import Link, Size


SIDES = st.integers(10, 200)
SIZES = st.builds(Size, SIDES, SIDES)


@st.composite
def nets(draw: st.DrawFn) -> tuple[dict[str, Size], list[Link]]:
    """
    Make boxes and links between them: cycles, loops, several at once, some that nothing leads to.
    """
    names = [f"n{position}" for position in range(draw(st.integers(1, 12)))]
    sizes = {name: draw(SIZES) for name in names}
    ends = st.sampled_from(names)
    link = st.builds(Link, ends, ends, st.one_of(st.just(Size()), SIZES), st.sampled_from(["next", "on_error"]))

    return sizes, draw(st.lists(link, max_size=24))


def simple(*ways: tuple[str, str]) -> Layout:
    """
    Arrange boxes of one size, with an unlabelled link for each way; the first box is the start.
    """
    names = list(dict.fromkeys(name for way in ways for name in way))

    return arrange({name: Size(80, 40) for name in names}, [Link(*way) for way in ways], names[0])


def standing(layout: Layout) -> list[Box]:
    """
    List everything that stands somewhere.
    """
    return [*layout.boxes.values(), *(route.label for route in layout.routes if route.label is not None)]


def overlap(one: Box, other: Box) -> bool:
    """
    Tell whether two boxes share more than an edge.
    """
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


def lies_on(route: Route, box: Box) -> bool:
    """
    Tell whether some part of a line lies inside a box.
    """
    for step in route.steps:
        for (x, y), (to_x, to_y) in pairwise(step):
            part = Box(min(x, to_x), min(y, to_y), abs(x - to_x) + 1e-9, abs(y - to_y) + 1e-9)
            inner = Box(box.x + 0.01, box.y + 0.01, box.width - 0.02, box.height - 0.02)
            if overlap(part, inner):
                return True

    return False


class TestPlaces:
    @settings(max_examples=40, deadline=None)
    @given(nets())
    def test_nothing_stands_on_anything(self, net: tuple[dict[str, Size], list[Link]]) -> None:
        """
        No box and no label shares room with another.
        """
        overlaps = [pair for pair in combinations(standing(arrange(*net)), 2) if overlap(*pair)]

        assert [] == overlaps

    @settings(max_examples=40, deadline=None)
    @given(nets())
    def test_everything_is_on_the_paper(self, net: tuple[dict[str, Size], list[Link]]) -> None:
        """
        Boxes, labels and lines lie inside the picture.
        """
        layout = arrange(*net)
        points = [point for route in layout.routes for step in route.steps for point in step]

        assert all(
            box.x >= 0 and box.y >= 0 and box.right <= layout.width and box.bottom <= layout.height for box in standing(layout)
        )
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in points)

    @settings(max_examples=40, deadline=None)
    @given(nets())
    def test_lines_run_from_box_to_box(self, net: tuple[dict[str, Size], list[Link]]) -> None:
        """
        Every line begins at its origin's edge, ends at its target's, and has no gap.
        """
        layout = arrange(*net)
        for link, route in zip(net[1], layout.routes, strict=True):
            origin, target = layout.boxes[link.origin], layout.boxes[link.to]
            (x, y), (to_x, to_y) = route.steps[0].start, route.steps[-1].end

            assert origin.x <= x <= origin.right
            assert route.loop or pytest.approx(min((origin.y, origin.bottom), key=lambda edge: abs(edge - y))) == y
            assert target.x <= to_x <= target.right
            assert route.loop or pytest.approx(min((target.y, target.bottom), key=lambda edge: abs(edge - to_y))) == to_y
            assert all(one.end == other.start for one, other in pairwise(route.steps))

    @settings(max_examples=40, deadline=None)
    @given(nets())
    def test_lines_lie_on_no_box_and_on_no_other_label(self, net: tuple[dict[str, Size], list[Link]]) -> None:
        """
        A line touches its own label and nothing else that stands somewhere.
        """
        layout = arrange(*net)
        for route in layout.routes:
            others = [box for box in standing(layout) if box is not route.label]

            assert not any(lies_on(route, box) for box in others)

    @settings(max_examples=40, deadline=None)
    @given(nets())
    def test_the_same_lies_the_same(self, net: tuple[dict[str, Size], list[Link]]) -> None:
        """
        Arranging twice gives one picture.
        """
        assert arrange(*net) == arrange(*net)


class TestRows:
    def test_the_longest_path_ranks(self) -> None:
        """
        A box stands below everything that leads to it, however short another way is.
        """
        boxes = simple(("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "d")).boxes

        assert ["a", "b", "c", "d"] == sorted(boxes, key=lambda name: boxes[name].y)
        assert 4 == len({box.y for box in boxes.values()})

    def test_what_leads_back_runs_upward(self) -> None:
        """
        A link that closes a cycle is marked and ends above where it began.
        """
        back = simple(("a", "b"), ("b", "c"), ("c", "b")).routes[2]

        assert back.back
        assert back.steps[-1].end[1] < back.steps[0].start[1]

    def test_few_lines_cross(self) -> None:
        """
        What was declared crosswise is laid straight.
        """
        boxes = simple(("s", "a"), ("s", "b"), ("a", "y"), ("b", "x"), ("a", "y2"), ("b", "x2")).boxes

        assert (boxes["a"].x < boxes["b"].x) == (boxes["y"].x < boxes["x"].x)
        assert (boxes["a"].x < boxes["b"].x) == (boxes["y2"].x < boxes["x2"].x)

    def test_lines_of_one_group_meet(self) -> None:
        """
        Long lines to one box share their last step; those of another group do not.
        """
        sizes = {name: Size(80, 40) for name in "abcdz"}
        chain = [Link("a", "b"), Link("b", "c"), Link("c", "d"), Link("d", "z")]
        routes = arrange(sizes, [*chain, Link("a", "z"), Link("b", "z"), Link("a", "z", group="on_error")], "a").routes

        assert routes[4].steps[-1] == routes[5].steps[-1]
        assert routes[4].steps[-1] != routes[6].steps[-1]

    def test_a_chain_is_straight(self) -> None:
        """
        Boxes that only lead to the next stand under each other.
        """
        boxes = simple(("a", "b"), ("b", "c"), ("c", "d")).boxes

        assert 1 == len({round(box.x, 6) for box in boxes.values()})

    def test_nothing_is_laid_out_too(self) -> None:
        """
        A picture of nothing has no boxes and some paper.
        """
        layout = arrange({}, [])

        assert ({}, []) == (layout.boxes, list(layout.routes))
        assert layout.width > 0
