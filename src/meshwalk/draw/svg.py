"""
A graph as SVG: a picture that needs no other program to make, and none but a browser to look at.

Colours are custom properties that follow the reader's light or dark mode.  Every shape also carries the light colours as plain
attributes, and the rules that read the properties stand inside `@supports`: a program that draws SVG without knowing
either still draws the light picture on a ground of its own.

An author's text is never a part of the markup, and what is cut off to fit stands whole in a `<title>`.
"""

from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from meshwalk.checks.bounds import Bounds
from meshwalk.draw.arrows import Arrow, arrows, lines, printable, strangers
from meshwalk.draw.layout import MARGIN, Box, Layout, Route, Step, arrange
from meshwalk.draw.palette import STYLE, Kind, Tone, number, outline, paint
from meshwalk.draw.rows import Link, Size
from meshwalk.model import DONE, Graph, Price
from meshwalk.trace import Traversal


_START = "\u25b6"  # no node can have this name, which is no identifier

_NAME_CHARS, _DETAIL_CHARS = 28, 36
_FOOT_CHARS = 130
_LABEL_CHARS, _LABEL_LINES = 26, 4
_WORD_CHARS = 36

_NAME_EM, _TEXT_EM, _CODE_EM = 0.70, 0.61, 0.61
_NAME_PX, _TEXT_PX, _CODE_PX = 14, 11, 11
_LINE_PX = 15
_HEAD_PX = 64.0
_FOOT_PX = 44.0


def svg(graph: Graph, traversal: Traversal | None = None, *, bounds: Bounds | None = None) -> str:
    """
    Draw *graph* as SVG.

    Args:
        traversal: A walk over this graph, whose path is drawn over the rest.
        bounds: The worst that a walk can come to, told at the foot.
    """
    taken = _Taken.of(traversal)
    cards = _cards(graph)
    ways = list(arrows(graph))
    labels = [_Label.of(way) for way in ways]
    links = [_link(way, label) for way, label in zip(ways, labels, strict=True)]
    if graph.start in cards:
        links.append(Link(_START, graph.start))
    layout = arrange({name: card.size for name, card in cards.items()} | {_START: Size(14, 14)}, links, _START)

    return "\n".join(_document(graph, _Picture(cards, ways, labels, layout, taken), list(_foot(bounds)))) + "\n"


class _Taken(NamedTuple):
    """
    The nodes and arrows that a walk took.

    Args:
        hops: The numbers of the hops at each node.
    """

    name: str
    hops: Mapping[str, Sequence[int]]
    ways: Collection[tuple[str, str, int, str]]

    @classmethod
    def of(cls, traversal: Traversal | None) -> _Taken:
        if traversal is None:
            return cls("", {}, ())
        hops: dict[str, list[int]] = {}
        for at, name in enumerate(traversal.path, start=1):
            hops.setdefault(name, []).append(at)
        ways = {(traversal.path[left.hop], left.section, left.edge, left.to) for left in traversal.decisions if left.edge >= 0}

        return cls(traversal.traversal_id, hops, ways)

    def holds(self, way: Arrow) -> bool:
        return (way.origin, way.section, way.position, way.to) in self.ways

    def reached(self, name: str) -> bool:
        return name in self.hops or name == _START or any(way[3] == name for way in self.ways)


class _Card(NamedTuple):
    """
    The text on a node.
    """

    name: str
    kind: Kind
    lines: tuple[str, ...]
    whole: str

    @property
    def size(self) -> Size:
        width = max([_wide(self.lines[0]) * _NAME_PX * _NAME_EM, *(_wide(row) * _TEXT_PX * _TEXT_EM for row in self.lines[1:])])

        return Size(round(max(width + 44, 84)), 20 + _LINE_PX * len(self.lines) + (4 if len(self.lines) > 1 else 0))


def _cards(graph: Graph) -> dict[str, _Card]:
    cards: dict[str, _Card] = {}
    for node in graph.nodes.values():
        name, detail = lines(node)
        spec = graph.backends.get(node.backend or "")
        price = [_price(spec.price)] if spec is not None and spec.price is not None else []
        visits = [f"up to {node.visits} visits"] if node.visits != 1 else []
        rows = (_cut(name, _NAME_CHARS), *(_cut(row, _DETAIL_CHARS) for row in [detail, *price, *visits]))
        whole = "\n".join([name, detail, *price, *visits, *([node.description] if node.description else [])])
        cards[name] = _Card(name, node.role, rows, whole)
    for name in strangers(graph):
        kind: Kind = "done" if name == DONE else "stranger"
        whole = "the answer is served" if name == DONE else f"there is no node {name}"
        cards[name] = _Card(name, kind, (_cut(name, _NAME_CHARS),), whole)

    return cards


def _price(price: Price) -> str:
    if not any(price):
        return "free"
    input_price, output_price, cached, reasoning, _ = (None if nano is None else _decimal(nano) for nano in price.rates)
    cached = "" if cached is None else f" ({cached} cached)"
    reasoning = "" if reasoning is None else f" ({reasoning} reasoning)"

    return f"{input_price} in{cached}, {output_price} out{reasoning} USD/Mtok"


class _Label(NamedTuple):
    """
    The text on a line.
    """

    number: str
    rows: tuple[str, ...]
    whole: str

    @classmethod
    def of(cls, way: Arrow) -> _Label:
        words = " ".join(printable(way.words).split())
        place = str(way.position + 1) if way.numbered else ""
        # A name is not broken for being a little longer than a row.
        width = max(_LABEL_CHARS, min(max(map(len, words.split()), default=0), _WORD_CHARS))
        rows = textwrap.wrap(words, width, break_on_hyphens=False)
        if len(rows) > _LABEL_LINES:
            rows = [
                *rows[: _LABEL_LINES - 1],
                _cut(rows[_LABEL_LINES - 1] + " " + rows[_LABEL_LINES], _LABEL_CHARS - 1, more=True),
            ]

        return cls(
            place, tuple(rows), f"{way.origin} → {way.to}" + (f"\n{place}{': ' if place else ''}{words}" if words else "")
        )

    @property
    def size(self) -> Size:
        if not self.rows:
            return Size()
        width = max(map(_wide, self.rows)) * _CODE_PX * _CODE_EM + 16 + (20 if self.number else 0)

        return Size(round(width), 8 + 14 * len(self.rows))


def _link(way: Arrow, label: _Label) -> Link:
    return Link(way.origin, way.to, label.size, way.section)


def _wide(text: str) -> float:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cut(text: str, chars: int, *, more: bool = False) -> str:
    text = printable(text)

    return text[: chars - 1].rstrip() + "…" if len(text) > chars or more else text


# ---- the document ---------------------------------------------------------------------------------------------------


class _Picture(NamedTuple):
    cards: Mapping[str, _Card]
    ways: Sequence[Arrow]
    labels: Sequence[_Label]
    layout: Layout
    taken: _Taken


def _document(graph: Graph, picture: _Picture, foot: Sequence[str]) -> Iterator[str]:
    subtitle = _cut(graph.description, 110)
    texts = [_wide(_cut(graph.name, 60)) * 20 * _NAME_EM, *(_wide(row) * 12 * _TEXT_EM for row in (subtitle, *foot))]
    legend = sum(_legend_width(words) for _, _, words in _legend(picture))
    width = max(picture.layout.width, max(*texts, legend) + 2 * MARGIN)
    left = (width - picture.layout.width) / 2
    height = _HEAD_PX + picture.layout.height + _FOOT_PX + 18 * len(foot)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" '
        f'height="{number(height)}" role="img" font-family="system-ui, \'Segoe UI\', \'DejaVu Sans\', sans-serif">'
    )
    yield f"<title>{_x(graph.name)}</title>"
    yield f"<desc>{_x(graph.description or 'A graph of models.')}</desc>"
    yield STYLE
    yield f'<rect width="{number(width)}" height="{number(height)}" {paint("paper")}/>'
    yield _text(_cut(graph.name, 60), MARGIN, 34, size=20, tone="ink", weight=True, middle=False)
    yield _text(subtitle, MARGIN, 54, size=12, tone="faint", middle=False) if subtitle else ""
    yield f'<g transform="translate({number(left)} {number(_HEAD_PX)})">'
    yield from _lines_drawn(picture)
    yield from _labels_drawn(picture)
    yield from _nodes_drawn(picture)
    yield "</g>"
    yield from _legend_drawn(picture, _HEAD_PX + picture.layout.height + 14)
    for position, row in enumerate(foot):
        y = _HEAD_PX + picture.layout.height + 48 + 18 * position
        yield _text(row, MARGIN, y, size=12, tone="faint", middle=False)
    yield "</svg>"


def _foot(bounds: Bounds | None) -> Iterator[str]:
    if bounds is None:
        return
    tokens, cost = bounds.output_tokens, bounds.cost_nano_usd
    figures = [
        f"{bounds.hops.value} hops",
        f"{(bounds.latency_us.value or 0) / 1e6:g} s",
        "any number of output tokens" if tokens.value is None else f"{tokens.value} output tokens",
        "any cost" if cost.value is None else f"{_decimal(cost.value)} USD",
    ]
    yield f"A walk comes to {', '.join(figures)} at most."
    why = "; ".join(dict.fromkeys(reason for reason in (tokens.reason, cost.reason) if reason))
    yield _cut(f"Unbounded: {why}" if why else f"Costliest: {' → '.join(cost.path)}", _FOOT_CHARS)


def _decimal(nano_usd: int) -> str:
    return f"{nano_usd / 1e9:.9f}".rstrip("0").rstrip(".")


def _faded(picture: _Picture, *, taken: bool) -> str:
    return ' opacity=".5"' if picture.taken.name and not taken else ""


def _lines_drawn(picture: _Picture) -> Iterator[str]:
    # A stretch that several lines share is drawn once, or dashes of one would fill the gaps of another.
    drawn: set[tuple[str, Step]] = set()
    order = sorted(range(len(picture.ways)), key=lambda at: picture.taken.holds(picture.ways[at]))
    for at in order:
        way, route = picture.ways[at], picture.layout.routes[at]
        taken = picture.taken.holds(way)
        mine = [step for step in route.steps if taken or (way.section, step) not in drawn]
        drawn.update((way.section, step) for step in route.steps)
        shade, fade = _line_tone(way, route, taken=taken), _faded(picture, taken=taken)
        yield _line(way, route, mine, picture.labels[at].whole, shade, fade)
    for route in picture.layout.routes[len(picture.ways) :]:
        yield f'<g class="edge" data-start="1">{_stroke(route.steps, "taken" if picture.taken.name else "next")}'
        yield f"{_head(route, 'taken' if picture.taken.name else 'next')}</g>"


def _line_tone(way: Arrow, route: Route, *, taken: bool) -> Tone:
    if taken:
        return "taken"

    return "error" if way.dashed else "back" if route.back else "next"


def _line(way: Arrow, route: Route, steps: Sequence[Step], whole: str, shade: Tone, fade: str) -> str:
    # If its end was drawn with another line's, so was its head.
    head = _head(route, shade) if steps and steps[-1] == route.steps[-1] else ""
    data = f'data-from="{_x(way.origin)}" data-to="{_x(way.to)}" data-section="{way.section}" data-edge="{way.position}"'
    kind = "edge taken" if shade == "taken" else "edge"
    drawn = _stroke(steps, shade, dashed=way.dashed, loop=route.loop) if steps else ""

    return f'<g class="{kind}" {data}{fade}><title>{_x(whole)}</title>{drawn}{head}</g>'


def _stroke(steps: Sequence[Step], shade: Tone, *, dashed: bool = False, loop: bool = False) -> str:
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    thick = "3" if shade == "taken" else "1.6"
    parts: list[str] = []
    here: tuple[float, float] | None = None
    for step in steps:
        if here != step.start:
            parts.append(f"M{number(step.start[0])} {number(step.start[1])}")
        parts.append(_curve(step, loop=loop))
        here = step.end

    return f'<path d="{"".join(parts)}" {paint(None, shade)} stroke-width="{thick}"{dash}/>'


def _curve(step: Step, *, loop: bool) -> str:
    (x, y), (to_x, to_y) = step.turn, step.land
    straight = f"L{number(x)} {number(y)}" if step.start != step.turn else ""
    # A loop beside a box leaves and lands sideways, and everything else up or down.
    if loop:
        middle = (x + to_x) / 2
        bent = f"C{number(middle)} {number(y)} {number(middle)} {number(to_y)} {number(to_x)} {number(to_y)}"
    elif x == to_x:
        bent = f"L{number(to_x)} {number(to_y)}"
    else:
        middle = (y + to_y) / 2
        bent = f"C{number(x)} {number(middle)} {number(to_x)} {number(middle)} {number(to_x)} {number(to_y)}"

    return straight + bent + (f"L{number(step.end[0])} {number(step.end[1])}" if step.land != step.end else "")


def _head(route: Route, shade: Tone) -> str:
    x, y = route.steps[-1].end
    if route.loop:
        points = f"M{number(x + 9)} {number(y - 4.5)}L{number(x + 9)} {number(y + 4.5)}L{number(x)} {number(y)}Z"
    else:
        rise = 9 if route.back else -9
        points = f"M{number(x - 4.5)} {number(y + rise)}L{number(x + 4.5)} {number(y + rise)}L{number(x)} {number(y)}Z"

    return f'<path d="{points}" {paint(shade)}/>'


def _labels_drawn(picture: _Picture) -> Iterator[str]:
    for way, label, route in zip(picture.ways, picture.labels, picture.layout.routes, strict=False):
        if route.label is not None:
            taken = picture.taken.holds(way)
            yield _chip(label, route.label, _line_tone(way, route, taken=taken), taken=taken)


def _chip(label: _Label, box: Box, shade: Tone, *, taken: bool) -> str:
    indent = 20 if label.number else 0
    rows = "".join(
        _text(row, box.x + 8 + indent, box.y + 15 + 14 * at, size=_CODE_PX, tone="ink", middle=False, code=True)
        for at, row in enumerate(label.rows)
    )
    badge = ""
    if label.number:
        middle = box.y + box.height / 2
        badge = f'<circle cx="{number(box.x + 14)}" cy="{number(middle)}" r="8" {paint(shade)}/>'
        badge += _text(label.number, box.x + 14, middle + 3.5, size=10, tone="paper", weight=True)
    frame = (
        f'<rect x="{number(box.x)}" y="{number(box.y)}" width="{number(box.width)}" height="{number(box.height)}" rx="6" '
        f'{paint("chip", shade)} stroke-width="{"2" if taken else "1"}"/>'
    )

    return f'<g class="label{" taken" if taken else ""}"><title>{_x(label.whole)}</title>{frame}{badge}{rows}</g>'


def _nodes_drawn(picture: _Picture) -> Iterator[str]:
    for name, box in picture.layout.boxes.items():
        if name == _START:
            yield f'<circle cx="{number(box.x + 7)}" cy="{number(box.y + 7)}" r="7" {paint("ink")}/>'
            continue
        card, reached = picture.cards[name], picture.taken.reached(name)
        kind, fade = "node taken" if reached else "node", _faded(picture, taken=reached)
        yield f'<g class="{kind}" data-node="{_x(name)}" data-role="{card.kind}"{fade}>'
        yield f"<title>{_x(card.whole)}</title>"
        yield outline(card.kind, box, taken=reached and bool(picture.taken.name))
        top = box.y + (box.height - _LINE_PX * len(card.lines)) / 2 + 12
        for at, row in enumerate(card.lines):
            x, y = box.x + box.width / 2, top + _LINE_PX * at + (2 if at else 0)
            yield _text(row, x, y, size=_TEXT_PX if at else _NAME_PX, tone="faint" if at else "ink", weight=not at)
        yield from _badge(picture.taken.hops.get(name, ()), box)
        yield "</g>"


def _badge(hops: Sequence[int], box: Box) -> Iterator[str]:
    if hops:
        numbers = ", ".join(map(str, hops))
        width = 12 + 7 * len(numbers)
        yield f'<rect x="{number(box.x - 8)}" y="{number(box.y - 9)}" width="{width}" height="18" rx="9" {paint("taken")}/>'
        yield _text(numbers, box.x - 8 + width / 2, box.y + 4, size=11, tone="paper", weight=True)


def _legend(picture: _Picture) -> list[tuple[Tone, bool, str]]:
    routes = picture.layout.routes
    shades = {_line_tone(way, route, taken=False) for way, route in zip(picture.ways, routes, strict=False)}
    entries: list[tuple[Tone, bool, str]] = [
        ("next", False, "next, in the order tried"),
        ("error", True, "on error, by class"),
        ("back", False, "back to where a walk has been"),
        ("taken", False, f"walk {picture.taken.name[:12]}, hops numbered"),
    ]

    return [entry for entry in entries if entry[0] in shades or (entry[0] == "taken" and picture.taken.name)]


def _legend_width(words: str) -> float:
    return 60 + _wide(words) * _TEXT_PX * _TEXT_EM


def _legend_drawn(picture: _Picture, y: float) -> Iterator[str]:
    x = MARGIN
    yield '<g class="legend">'
    for shade, dashed, words in _legend(picture):
        yield _stroke([Step((x, y), (x, y), (x + 28, y), (x + 28, y))], shade, dashed=dashed, loop=True)
        yield _text(words, x + 36, y + 4, size=_TEXT_PX, tone="faint", middle=False)
        x += _legend_width(words)
    yield "</g>"


def _text(
    words: str, x: float, y: float, *, size: int, tone: Tone, weight: bool = False, middle: bool = True, code: bool = False
) -> str:
    anchor = ' text-anchor="middle"' if middle else ""
    bold = ' font-weight="600"' if weight else ""
    family = " font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\"" if code else ""

    return f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" {paint(tone)}{anchor}{bold}{family}>{_x(words)}</text>'


def _x(text: str) -> str:
    return html.escape("\n".join(printable(row) for row in text.split("\n")))
