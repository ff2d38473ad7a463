"""
A picture's boxes, labels and lines as items in rows, before anyone knows how far to the right they stand.

Links that would close a cycle are turned round, each box goes as far down as the longest path from the start says, and every
row between two boxes gets an item for the line that passes it: its label, or a bend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple


GAP = 26.0  # between boxes of a row
LABEL_GAP = 13.0
BEND_GAP = 15.0  # between two lines that pass a row

LOOP = 30.0  # how far to the side of its box a loop goes
LOOP_GAP = 8.0

_BEND = 4.0
_BOX_WEIGHT, _LABEL_WEIGHT, _BEND_WEIGHT = 1, 2, 8


class Size(NamedTuple):
    """
    The width and height that something needs; 0 for nothing.
    """

    width: float = 0.0
    height: float = 0.0


class Link(NamedTuple):
    """
    A line to be drawn.

    Args:
        group: Lines of one group may meet on their way to the same box.
    """

    origin: str
    to: str
    label: Size = Size()
    group: str = ""


@dataclass(slots=True, eq=False)
class Item:
    """
    An item of a row: a box, a label or a bend.
    """

    row: int
    left: float
    right: float
    height: float
    gap: float
    weight: int
    tall: float = 0.0
    up: list[Item] = field(default_factory=list)
    down: list[Item] = field(default_factory=list)
    ports: dict[tuple[bool, int], float] = field(default_factory=dict)
    at: int = 0
    x: float = 0.0

    @property
    def is_box(self) -> bool:
        """
        Return whether it is a box, which lines leave and reach at its edge.
        """
        return self.weight == _BOX_WEIGHT

    @property
    def is_bend(self) -> bool:
        """
        Return whether a line only passes here.
        """
        return self.weight == _BEND_WEIGHT

    def port(self, other: Item) -> float:
        """
        Return the distance of the line to *other* from the middle.
        """
        return self.ports.get((other.row > self.row, id(other)), 0.0)


class Net:
    """
    The items by row, and the chain of items that each link runs through, from top to bottom.
    """

    def __init__(self, sizes: Mapping[str, Size], links: Sequence[Link], start: str) -> None:
        self.back = _turned(sizes, links, start)
        rank = _ranks(sizes, links, self.back)
        loops = loops_of(links)
        self.rows: list[list[Item]] = [[] for _ in range(2 * max(rank.values(), default=0) + 1)]
        self.items = {}
        for name, size in sizes.items():
            aside = LOOP + max((label.width for label in loops.get(name, ())), default=-LOOP)
            height = max(size.height, sum(label.height + LOOP_GAP for label in loops.get(name, ())))
            self.items[name] = self._add(2 * rank[name], size.width / 2, size.width / 2 + aside, height, GAP, _BOX_WEIGHT)
            self.items[name].tall = size.height
        self.labels: dict[int, Item] = {}
        self._bends: dict[tuple[object, ...], Item] = {}
        self.chains = [self._chain(position, link) for position, link in enumerate(links)]
        self.sizes = sizes

    def _add(self, row: int, left: float, right: float, height: float, gap: float, weight: int) -> Item:
        item = Item(row, left, right, height, gap, weight, at=len(self.rows[row]))
        self.rows[row].append(item)

        return item

    def _chain(self, position: int, link: Link) -> list[Item]:
        if link.origin == link.to:
            return []
        back = position in self.back
        top, bottom = (link.to, link.origin) if back else (link.origin, link.to)
        first, last = self.items[top], self.items[bottom]
        labelled = last.row - 1 if back else first.row + 1
        chain = [first]
        for row in range(first.row + 1, last.row):
            if row == labelled and link.label.height:
                half = link.label.width / 2
                item = self.labels[position] = self._add(row, half, half, link.label.height, LABEL_GAP, _LABEL_WEIGHT)
            else:
                item = self._bend(row, (position,) if back else (link.to, link.group))
            chain.append(item)
        chain.append(last)
        for upper, lower in pairwise(chain):
            if lower not in upper.down:
                upper.down.append(lower)
                lower.up.append(upper)

        return chain

    def _bend(self, row: int, whose: tuple[object, ...]) -> Item:
        key = (row, *whose)
        if key not in self._bends:
            self._bends[key] = self._add(row, _BEND, _BEND, 0.0, BEND_GAP, _BEND_WEIGHT)

        return self._bends[key]


def loops_of(links: Sequence[Link]) -> Mapping[str, Sequence[Size]]:
    """
    Find the labels of the links that lead back to where they came from, by their box.
    """
    loops: dict[str, list[Size]] = {}
    for link in links:
        if link.origin == link.to:
            loops.setdefault(link.origin, []).append(link.label)

    return loops


def _turned(sizes: Mapping[str, Size], links: Sequence[Link], start: str) -> frozenset[int]:
    """
    Find the links that close a cycle, by a search in depth from the start.
    """
    ways: dict[str, list[tuple[int, str]]] = {name: [] for name in sizes}
    for position, link in enumerate(links):
        ways[link.origin].append((position, link.to))
    turned: set[int] = set()
    state = dict.fromkeys(sizes, 0)
    led_to = {link.to for link in links}
    heads = [start] if start in sizes else []
    for head in [*heads, *(name for name in sizes if name not in led_to), *sizes]:
        if state[head]:
            continue
        state[head] = 1
        stack = [(head, iter(ways[head]))]
        while stack:
            name, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[name] = 2
                stack.pop()
            elif state[step[1]] == 1:
                turned.add(step[0])
            elif not state[step[1]]:
                state[step[1]] = 1
                stack.append((step[1], iter(ways[step[1]])))

    return frozenset(turned)


def _ranks(sizes: Mapping[str, Size], links: Sequence[Link], back: frozenset[int]) -> dict[str, int]:
    """
    Rank each box by the longest path to it.
    """
    ways: dict[str, list[str]] = {name: [] for name in sizes}
    waits = dict.fromkeys(sizes, 0)
    for position, link in enumerate(links):
        origin, to = (link.to, link.origin) if position in back else (link.origin, link.to)
        if origin != to:
            ways[origin].append(to)
            waits[to] += 1
    rank = dict.fromkeys(sizes, 0)
    ready = [name for name in sizes if not waits[name]]
    for name in ready:
        for to in ways[name]:
            rank[to] = max(rank[to], rank[name] + 1)
            waits[to] -= 1
            if not waits[to]:
                ready.append(to)

    return rank
