"""
The layout of a picture: boxes in rows, labels in rows of their own between them, lines that touch neither.

The way is Sugiyama's.  Edges that would close a cycle are turned round; each box goes as far down as the longest path from the
start says; lines that pass a row get a place in it (a *bend*); barycentre sweeps order the rows so that few lines
cross; then every row is moved to where its lines run straightest, which is a least-squares problem with an order
to keep, solved exactly by pooling neighbours that push each other.

Invariants:

1. A label is an item of its row like a box is, so that nothing can lie on it.
2. Lines leave a row's band only straight up or down inside their own item, and bend only between the bands.
3. Lines of one group that lead to one box meet below their labels and go on as one: what many boxes lead to is not a thicket.
4. The same boxes and links always lie the same: no dice, and every tie is broken by the order given.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from meshwalk.draw.rows import LOOP, LOOP_GAP, Item, Link, Net, Size


MARGIN = 30.0

_MAX_PORT = 30.0
_PORTS_SHARE = 0.8  # of a box's edge: corners may be cut


class Box(NamedTuple):
    """
    The place and size of something, by its left upper corner.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """
        Return the x of its right edge.
        """
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """
        Return the y of its lower edge.
        """
        return self.y + self.height


class Step(NamedTuple):
    """
    A part of a line: straight from *start* to *turn*, bent to *land*, straight to *end*; all lie on two verticals.

    Steps that several lines share are equal.
    """

    start: tuple[float, float]
    turn: tuple[float, float]
    land: tuple[float, float]
    end: tuple[float, float]


class Route(NamedTuple):
    """
    A line from its origin to its target.

    Args:
        back: Whether it leads to an earlier row, or to where it came from.
        loop: Whether it is drawn to the box's right, where it came from; its two steps are out and back.
    """

    steps: tuple[Step, ...]
    label: Box | None
    back: bool = False
    loop: bool = False


class Layout(NamedTuple):
    """
    The places of a whole picture; *routes* are in the order of the links.
    """

    boxes: Mapping[str, Box]
    routes: Sequence[Route]
    width: float
    height: float


def arrange(sizes: Mapping[str, Size], links: Sequence[Link], start: str = "") -> Layout:
    """
    Find a place for every box and a line for every link.

    Args:
        start: The box that stands at the top; without it, those that nothing leads to.
    """
    net = Net(sizes, links, start)
    _order(net)
    _place(net)

    return _drawn(net, links)


# ---- the order in each row ------------------------------------------------------------------------------------------

_SWEEPS = 24
_WORK = 400_000


def _order(net: Net) -> None:
    items = sum(map(len, net.rows))
    best, fewest = [list(row) for row in net.rows], _crossings(net.rows)
    for sweep in range(max(4, min(_SWEEPS, _WORK // max(items, 1)))):
        down = sweep % 2 == 0
        for row in net.rows if down else reversed(net.rows):
            _settle(row, key=_barycentre(up=down))
        if items < 2_000:
            _swap(net.rows)
        crossings = _crossings(net.rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in net.rows], crossings
    for row, order in zip(net.rows, best, strict=True):
        row[:] = order
        _number(row)


def _barycentre(*, up: bool) -> Callable[[Item], float]:
    def key(item: Item) -> float:
        beside = item.up if up else item.down

        return sum(other.at for other in beside) / len(beside) if beside else item.at

    return key


def _settle(row: list[Item], key: Callable[[Item], float]) -> None:
    row.sort(key=key)
    _number(row)


def _number(row: list[Item]) -> None:
    for at, item in enumerate(row):
        item.at = at


def _swap(rows: list[list[Item]]) -> None:
    """
    Let neighbours change places where fewer lines cross then.
    """
    for row in rows:
        for at in range(len(row) - 1):
            left, right = row[at], row[at + 1]
            if _pair(left, right) > _pair(right, left):
                row[at], row[at + 1] = right, left
                right.at, left.at = at, at + 1


def _pair(left: Item, right: Item) -> int:
    return sum(
        one.at > other.at for ours, theirs in ((left.up, right.up), (left.down, right.down)) for one in ours for other in theirs
    )


def _crossings(rows: list[list[Item]]) -> int:
    count = 0
    for row in rows:
        passed: list[int] = []
        for item in row:
            ends = sorted(other.at for other in item.down)
            count += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)

    return count


# ---- how far to the right -------------------------------------------------------------------------------------------

_ROUNDS = 120
_STILL = 0.2


def _place(net: Net) -> None:
    for row in net.rows:
        x = 0.0
        for item in row:
            _ports(item)
            item.x = x + item.left
            x = item.x + item.right + item.gap
    items = sum(map(len, net.rows))
    rounds = max(4, min(_ROUNDS, _WORK // max(items, 1)))
    for turn in range(rounds):
        moved, both = 0.0, turn > rounds // 3
        down = turn % 2 == 0
        for row in net.rows if down else reversed(net.rows):
            moved = max(moved, _straighten(row, _pulled(up=down or both, down=both or not down)))
        if both and moved < _STILL:
            break
    # Least squares lets a long line drift a little in every row; hanging it from its end leaves one turn instead.
    for row in reversed(net.rows):
        _straighten(row, _hung)
    leftmost = min((item.x - item.left for row in net.rows for item in row), default=0.0)
    for row in net.rows:
        for item in row:
            item.x += MARGIN - leftmost


def _ports(item: Item) -> None:
    """
    Give every line of a box a place of its own along the edge; labels and bends have one in the middle.
    """
    if not item.is_box:
        return
    for below, others in ((False, item.up), (True, item.down)):
        others.sort(key=lambda other: other.at)
        step = min(_MAX_PORT, _PORTS_SHARE * 2 * item.left / max(len(others), 1))
        for at, other in enumerate(others):
            item.ports[below, id(other)] = (at - (len(others) - 1) / 2) * step


def _straighten(row: list[Item], wanted_by: Callable[[Item], tuple[float, float]]) -> float:
    """
    Move a row to where its items want to be, as near as their order and their distances let them; return the longest way.

    Args:
        wanted_by: Where an item wants to be, and how much.
    """
    # Less its distance to the row's beginning, an item may stand anywhere not left of the one before it.
    blocks: list[tuple[float, float, int]] = []
    offset, offsets = 0.0, []
    for at, item in enumerate(row):
        if at:
            offset += row[at - 1].right + max(row[at - 1].gap, item.gap) + item.left
        offsets.append(offset)
        wanted, weight = wanted_by(item)
        total, count = (wanted - offset) * weight, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / weight:
            before = blocks.pop()
            total, weight, count = total + before[0], weight + before[1], count + before[2]
        blocks.append((total, weight, count))
    places = [total / weight for total, weight, count in blocks for _ in range(count)]
    moved = 0.0
    for item, place, offset in zip(row, places, offsets, strict=True):
        moved = max(moved, abs(place + offset - item.x))
        item.x = place + offset

    return moved


def _pulled(*, up: bool, down: bool) -> Callable[[Item], tuple[float, float]]:
    """
    Let items be pulled by those above, below, or both.
    """

    def wanted(item: Item) -> tuple[float, float]:
        total = weight = 0.0
        for other in [*(item.up if up else ()), *(item.down if down else ())]:
            pull = item.weight * other.weight
            total += pull * (other.x + other.port(item) - item.port(other))
            weight += pull

        return (total / weight, weight) if weight else (item.x, 0.01)

    return wanted


def _hung(item: Item) -> tuple[float, float]:
    if not item.is_bend:
        return item.x, 10_000.0

    return sum(other.x + other.port(item) for other in item.down) / len(item.down), 1.0


# ---- how far down, and the lines ------------------------------------------------------------------------------------


class _Band(NamedTuple):
    top: float
    bottom: float


def _bands(rows: list[list[Item]]) -> list[_Band]:
    bands: list[_Band] = []
    y = MARGIN
    for row in rows:
        height = max((item.height for item in row), default=0.0)
        bands.append(_Band(y, y + height))
        # A line that goes far to the side needs more room to do so, or it lies flat on its neighbours.
        far = max((abs(item.x - other.x) for item in row for other in item.down), default=0.0)
        y += height + min(30.0 + far / 12, 130.0)

    return bands


def _box(item: Item, band: _Band, size: Size) -> Box:
    return Box(item.x - size.width / 2, (band.top + band.bottom - size.height) / 2, *size)


def _drawn(net: Net, links: Sequence[Link]) -> Layout:
    bands = _bands(net.rows)
    boxes = {name: _box(net.items[name], bands[net.items[name].row], size) for name, size in net.sizes.items()}
    loops = dict(_looped(links, boxes))
    routes = [
        loops[position] if position in loops else _route(net, bands, position, link) for position, link in enumerate(links)
    ]
    width = max((item.x + item.right for row in net.rows for item in row), default=0.0) + MARGIN

    return Layout(boxes, routes, width, (bands[-1].bottom if bands else 0.0) + MARGIN)


def _route(net: Net, bands: list[_Band], position: int, link: Link) -> Route:
    chain, back = net.chains[position], position in net.back
    steps = [_step(upper, lower, bands) for upper, lower in pairwise(chain)]
    if back:
        steps = [Step(step.end, step.land, step.turn, step.start) for step in reversed(steps)]
    item = net.labels.get(position)

    label = None if item is None else _box(item, bands[item.row], link.label)

    return Route(tuple(steps), label, back)


def _step(upper: Item, lower: Item, bands: list[_Band]) -> Step:
    leave, arrive = upper.x + upper.port(lower), lower.x + lower.port(upper)
    above, below = bands[upper.row], bands[lower.row]
    start = (above.top + above.bottom + upper.tall) / 2 if upper.is_box else above.top
    end = (below.top + below.bottom - lower.tall) / 2 if lower.is_box else below.top

    return Step((leave, start), (leave, above.bottom), (arrive, below.top), (arrive, end))


def _looped(links: Sequence[Link], boxes: Mapping[str, Box]) -> Iterator[tuple[int, Route]]:
    """
    Draw what leads back to where it came from, to the right of its box, one below the other.
    """
    levels: dict[str, list[int]] = {}
    for position, link in enumerate(links):
        if link.origin == link.to:
            levels.setdefault(link.to, []).append(position)
    for name, positions in levels.items():
        box = boxes[name]
        pitch = box.height / len(positions)
        room = sum(links[position].label.height + LOOP_GAP for position in positions) - LOOP_GAP
        y = box.y + (box.height - room) / 2
        for at, position in enumerate(positions):
            label = links[position].label
            yield position, _loop(box, box.y + pitch * (at + 0.5), min(6.0, pitch / 4), Box(box.right + LOOP, y, *label))
            y += label.height + LOOP_GAP


def _loop(box: Box, port: float, half: float, label: Box) -> Route:
    turn = (label.x, label.y + label.height / 2)
    out, back = (box.right, port - half), (box.right, port + half)

    return Route(
        (Step(out, out, turn, turn), Step(turn, turn, back, back)), label if label.height else None, back=True, loop=True
    )
