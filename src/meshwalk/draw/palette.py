"""
The looks of a picture's parts: a colour for each tone, light and dark, and a shape for each role.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from meshwalk.draw.layout import Box


Kind = Literal["classifier", "prescreen", "answer", "primary", "verifier", "refusal", "done", "stranger"]
Tone = Literal[
    "paper", "chip", "ink", "faint", "next", "error", "back", "taken",
    "classifier", "prescreen", "answer", "primary", "verifier", "refusal",
    "classifier-line", "prescreen-line", "answer-line", "primary-line", "verifier-line", "refusal-line",
]  # fmt: skip

# Each tone in light and in dark mode.
_COLOURS: Mapping[Tone, tuple[str, str]] = {
    "paper": ("#ffffff", "#12161c"),
    "chip": ("#f7f8fa", "#1c222b"),
    "ink": ("#1b212a", "#eef2f7"),
    "faint": ("#55606e", "#a5b0be"),
    "next": ("#55606e", "#9aa6b5"),
    "error": ("#c2410c", "#fb923c"),
    "back": ("#7c3aed", "#b794f6"),
    "taken": ("#0369d6", "#58a6ff"),
    "classifier": ("#e3f0fd", "#14304c"),
    "classifier-line": ("#3178b9", "#5aa2e6"),
    "prescreen": ("#dcf5f2", "#103a37"),
    "prescreen-line": ("#0f837a", "#3bbdb2"),
    "answer": ("#e4f5e3", "#183a1d"),
    "answer-line": ("#3a8a3f", "#66bd6b"),
    "primary": ("#efe7fc", "#2f2150"),
    "primary-line": ("#7347c1", "#a884ee"),
    "verifier": ("#fdf2d3", "#40320b"),
    "verifier-line": ("#a67608", "#dcae3c"),
    "refusal": ("#fde5e3", "#4a1a18"),
    "refusal-line": ("#c03a33", "#ee7a73"),
}
_FILLS: Mapping[Kind, Tone] = {
    "classifier": "classifier",
    "prescreen": "prescreen",
    "answer": "answer",
    "primary": "primary",
    "verifier": "verifier",
    "refusal": "refusal",
    "done": "chip",
    "stranger": "paper",
}
_LINES: Mapping[Kind, Tone] = {
    "classifier": "classifier-line",
    "prescreen": "prescreen-line",
    "answer": "answer-line",
    "primary": "primary-line",
    "verifier": "verifier-line",
    "refusal": "refusal-line",
    "done": "ink",
    "stranger": "error",
}


def _properties(mode: int) -> str:
    return "".join(f"--{name}:{colours[mode]};" for name, colours in _COLOURS.items())


def _rules() -> str:
    return "".join(f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in _COLOURS)


STYLE = (
    f"<style>svg{{{_properties(0)}}}@media (prefers-color-scheme:dark){{svg{{{_properties(1)}}}}}"
    f"@supports (fill:var(--ink)){{{_rules()}}}</style>"
)


def paint(fill: Tone | None = None, stroke: Tone | None = None) -> str:
    """
    Return the attributes that paint something.
    """
    names = " ".join([*([f"f-{fill}"] if fill else []), *([f"s-{stroke}"] if stroke else [])])
    inside = _COLOURS[fill][0] if fill else "none"
    line = f' stroke="{_COLOURS[stroke][0]}"' if stroke else ""

    return f'class="{names}" fill="{inside}"{line}'


def outline(kind: Kind, box: Box, *, taken: bool) -> str:
    """
    Draw a node's shape.
    """
    colours = paint(_FILLS[kind], "taken" if taken else _LINES[kind])
    width = "3" if taken else "1.6"
    dash = ' stroke-dasharray="3 3"' if kind == "stranger" else ""
    drawn = f'<path d="{_SHAPES[kind](box)}" {colours} stroke-width="{width}" stroke-linejoin="round"{dash}/>'
    if kind == "primary":
        inner = Box(box.x + 4, box.y + 4, box.width - 8, box.height - 8)
        drawn += f'<path d="{_rounded(inner, 4)}" {paint(None, _LINES[kind])} stroke-width="1"/>'
    if kind == "verifier":
        bars = "".join(f"M{number(x)} {number(box.y)}v{number(box.height)}" for x in (box.x + 8, box.right - 8))
        drawn += f'<path d="{bars}" {paint(None, _LINES[kind])} stroke-width="1"/>'

    return drawn


def number(value: float) -> str:
    """
    Print a coordinate.
    """
    return f"{value:.1f}".removesuffix(".0")


def _closed(*points: tuple[float, float]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + "Z"


def _rounded(box: Box, radius: float) -> str:
    across, along, r = number(box.width - 2 * radius), number(box.height - 2 * radius), number(radius)
    corner = f"a{r} {r} 0 0 1"

    return (
        f"M{number(box.x + radius)} {number(box.y)}h{across}{corner} {r} {r}v{along}{corner} -{r} {r}"
        f"h-{across}{corner} -{r} -{r}v-{along}{corner} {r} -{r}Z"
    )


def _hexagon(box: Box) -> str:
    middle, cut = box.y + box.height / 2, 14

    return _closed(
        (box.x + cut, box.y), (box.right - cut, box.y), (box.right, middle),
        (box.right - cut, box.bottom), (box.x + cut, box.bottom), (box.x, middle),
    )  # fmt: skip


def _funnel(box: Box) -> str:
    return _closed((box.x, box.y), (box.right, box.y), (box.right - 14, box.bottom), (box.x + 14, box.bottom))


def _octagon(box: Box) -> str:
    cut = 10

    return _closed(
        (box.x + cut, box.y), (box.right - cut, box.y), (box.right, box.y + cut), (box.right, box.bottom - cut),
        (box.right - cut, box.bottom), (box.x + cut, box.bottom), (box.x, box.bottom - cut), (box.x, box.y + cut),
    )  # fmt: skip


_SHAPES: Mapping[Kind, Callable[[Box], str]] = {
    "classifier": _hexagon,
    "prescreen": _funnel,
    "answer": lambda box: _rounded(box, 10),
    "primary": lambda box: _rounded(box, 7),
    "verifier": lambda box: _rounded(box, 2),
    "refusal": _octagon,
    "done": lambda box: _rounded(box, box.height / 2),
    "stranger": lambda box: _rounded(box, 4),
}
