"""
The names that guards may speak: their types, who writes them, and where a walk keeps them.

`visible` is the one list of what a guard on a given edge can read.  A walk keeps signal values by slot name; two names may
share a slot, because `output.confidence` on an edge that leaves `screen` *is* `hop.screen.confidence`: the node being
left has just had its latest successful visit.

| name | type | written by |
|---|---|---|
| `request.<attribute>` | as declared | the caller, or the default |
| `signals.tokens .depth .ambiguity .complexity` | number | a `classifier` with `use: features` |
| `signals.<head>` | number, 0 to 1 | a `classifier` with `use: weights` |
| `signals.label`, `signals.confidence` | text, number | a `classifier` with `use: model` |
| `signals.<name>` | as it declares under `writes` | a `classifier` with `use: http` or `python` |
| `thresholds.<name>` | number | the author |
| `fits.<backend>` | true or false | the walk, when it begins |
| `backend.<backend>.healthy` | true or false | the engine, when the walk begins |
| `elapsed`, `deadline.left` | duration | the engine's clock, at each decision |
| `budget.<scope>.left_usd .left_fraction .left_tokens .pressure` | number | the ledger, as this walk last drew on it |
| `hop.<node>.visits`, `hop.<node>.status` | number, text | the walk |
| `hop.<node>.<output>` | by role | the latest successful visit of that node |
| `output.<output>` | by role | the node being left |

`budget.request` is the walk's own limits; `budget.session`, `.workflow` and `.tenant` exist where the graph declares them under
`budgets`.  `left_usd` and `left_tokens` (of output) are undetermined where nothing caps them.  `left_fraction` is 1 less the
used share of the cap that is nearest to its end, and `pressure` is max(0, (used share - from) / (1 - from)), at most 1, where
`from` is the scope's `pressure_from`; what is reserved counts as used.  In a scope that the request does not name, `pressure`
is 0 and what is left is undetermined.

`fits.<backend>` exists for each backend that declares `context_tokens`.  It holds where the request surely fits that window
in every node that calls the backend: the bound of its input (the UTF-8 bytes of the messages, or of the node's prompt filled
in, or what the backend's tokenizer counts of them, and 16 tokens for each message) plus the reply's `max_tokens` (the node's,
tightened by the caller's; one token if nobody says) is at most `context_tokens`.  Bytes bound tokens from above, so a request
that does not surely fit may still do so.

`backend.<backend>.healthy` exists for each backend that bounds its traffic, has a breaker or names endpoints.  It holds where
at least one endpoint could be called when the walk began: its breaker let calls through (or a probe was due), and it had not
asked to be left alone.  Each process knows what it has seen itself.  What a guard read is part of the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from meshwalk.model import NOT_UNICODE, Attribute, Graph, Node, Value, ValueType, is_unicode
from meshwalk.model.limits import MAX_ATTRIBUTE_CHARACTERS


Section = Literal["next", "on_error"]

# The scope that every walk has to itself; the others are shared, and a graph names those it caps.
REQUEST = "request"

URGENCIES = ("realtime", "interactive", "batch")
CORRECTNESSES = ("strict", "standard", "lenient")
STATUSES = ("none", "ok", "failed", "stopped")
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "other")


class Kind(Enum):
    """
    The types of guards; a duration is a whole number of microseconds.
    """

    NUMBER = "a number"
    TEXT = "text"
    BOOL = "true or false"
    DURATION = "a duration"


@dataclass(frozen=True, slots=True)
class Signal:
    """
    A name that guards can read.

    Args:
        slot: Where a walk keeps the value; equal slots are the same value.
        writer: Who writes it, in words for an error or a table.
        members: For text: every value it can have, empty if any.
        range: For a number: what it lies between, both ends included.
        optional: Whether it may be undetermined when the guard is asked.
        constant: The value, for a threshold; it has no slot in a walk.
    """

    name: str
    kind: Kind
    slot: str
    writer: str
    members: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    optional: bool = False
    constant: float | None = None


_KINDS: Mapping[ValueType, Kind] = {"string": Kind.TEXT, "number": Kind.NUMBER, "bool": Kind.BOOL}
_UNIT = (0.0, 1.0)
_FROM_ZERO = (0.0, float("inf"))


def builtin_attributes(graph: Graph) -> dict[str, Attribute]:
    """
    Return the attributes every graph has, `urgency` and `correctness`, as if they had been declared.
    """
    return {
        "urgency": Attribute("urgency", "string", graph.span, enum=URGENCIES, default="interactive"),
        "correctness": Attribute("correctness", "string", graph.span, enum=CORRECTNESSES, default="standard"),
    }


def attributes(graph: Graph) -> dict[str, Attribute]:
    """
    Return all attributes a caller may send to *graph*, built in and declared.
    """
    return builtin_attributes(graph) | dict(graph.attributes)


def outputs(node: Node) -> tuple[Signal, ...]:
    """
    List what *node* writes with a successful visit, as `hop.<node>.<output>` signals.
    """

    def signal(
        name: str,
        kind: Kind,
        *,
        members: tuple[str, ...] = (),
        range: tuple[float, float] | None = None,
        optional: bool = False,
    ) -> Signal:
        full = f"hop.{node.name}.{name}"
        return Signal(full, kind, full, f"node '{node.name}'", members, range, optional)

    signals: list[Signal] = []
    if node.confidence is not None and node.role != "classifier":
        name = "score" if node.role == "verifier" else "confidence"
        signals.append(signal(name, Kind.NUMBER, range=_UNIT, optional=node.confidence.missing is None))
    match node.role:
        case "answer" | "primary":
            # A reply that is judged before its end has no finish reason yet.
            signals.append(signal("finish_reason", Kind.TEXT, members=FINISH_REASONS, optional=bool(node.stream)))
            signals.append(signal("output_tokens", Kind.NUMBER, range=_FROM_ZERO))
        case "prescreen":
            signals.append(signal("qualified", Kind.BOOL))
            signals.append(signal("label", Kind.TEXT))
        case "verifier" if node.use != "model":
            signals.append(signal("agree", Kind.BOOL))
            signals.append(signal("score", Kind.NUMBER, range=_UNIT))
        case _:
            pass

    return tuple(signals)


# The outputs of a `use: features` classifier; `backends/roles/classifier` holds the formulas.
FEATURES: Mapping[str, tuple[float, float]] = {
    "tokens": _FROM_ZERO,
    "depth": _FROM_ZERO,
    "ambiguity": _UNIT,
    "complexity": _UNIT,
}


def healthy(backend: str) -> str:
    """
    Name the signal that tells whether *backend* could be called when the walk began.
    """
    return f"backend.{backend}.healthy"


LABEL = "label"
CONFIDENCE = "confidence"


def written(node: Node) -> tuple[Attribute, ...]:
    """
    Declare the signals that *node* gives if it is a classifier: `signals.<name>` for each.
    """
    if node.role != "classifier":
        return ()
    match node.use:
        case None | "features":
            return tuple(Attribute(name, "number", node.span, range=span) for name, span in FEATURES.items())
        case "model":
            label = Attribute(LABEL, "string", node.places.get("labels", node.span), enum=node.labels)
            if node.confidence is None:
                return (label,)
            return (label, Attribute(CONFIDENCE, "number", node.confidence.span, range=_UNIT))
        case _:
            return tuple(node.writes.values())


def classified(graph: Graph) -> dict[Attribute, tuple[str, ...]]:
    """
    Return each signal that classifiers of *graph* give, with the nodes that give it; one of two declarations stands for both.
    """
    declared: dict[str, Attribute] = {}
    writers: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        for attribute in written(node):
            declared.setdefault(attribute.name, attribute)
            writers.setdefault(attribute.name, []).append(node.name)

    return {attribute: tuple(writers[name]) for name, attribute in declared.items()}


def _everywhere(graph: Graph) -> Iterator[Signal]:
    for attribute in attributes(graph).values():
        name = f"request.{attribute.name}"
        kind = _KINDS[attribute.type]
        yield Signal(name, kind, name, "the caller", attribute.enum, attribute.range, attribute.default is None)
    for threshold in graph.thresholds.values():
        name = f"thresholds.{threshold.name}"
        yield Signal(name, Kind.NUMBER, name, "the author", range=threshold.range, constant=threshold.value)
    for attribute, writers in classified(graph).items():
        name = f"signals.{attribute.name}"
        writer = "node " + " or ".join(f"'{node}'" for node in writers)
        yield Signal(name, _KINDS[attribute.type], name, writer, attribute.enum, attribute.range, optional=True)
    for backend in graph.backends.values():
        if backend.context_tokens is not None:
            name = f"fits.{backend.name}"
            yield Signal(name, Kind.BOOL, name, "the walk")
        if backend.gated:
            name = healthy(backend.name)
            yield Signal(name, Kind.BOOL, name, "the engine, when the walk begins")
    yield Signal("elapsed", Kind.DURATION, "elapsed", "the engine's clock")
    yield Signal("deadline.left", Kind.DURATION, "deadline.left", "the engine's clock")
    for scope in (REQUEST, *graph.budgets):
        for name in ("left_usd", "left_fraction", "left_tokens"):
            full = f"budget.{scope}.{name}"
            yield Signal(full, Kind.NUMBER, full, "the ledger", optional=True)
        full = f"budget.{scope}.pressure"
        yield Signal(full, Kind.NUMBER, full, "the ledger", range=_UNIT)
    for node in graph.nodes.values():
        at = f"hop.{node.name}"
        yield Signal(f"{at}.visits", Kind.NUMBER, f"{at}.visits", "the walk", range=_FROM_ZERO)
        yield Signal(f"{at}.status", Kind.TEXT, f"{at}.status", "the walk", STATUSES)
        for output in outputs(node):
            # Types do not know whether a walk has been there, so an earlier hop's output may always be absent.
            yield Signal(output.name, output.kind, output.slot, output.writer, output.members, output.range, True)


def everywhere(graph: Graph) -> dict[str, Signal]:
    """
    Return the signals that a guard on any edge of *graph* may read, by name.
    """
    return {signal.name: signal for signal in _everywhere(graph)}


def visible(graph: Graph, node: Node, common: Mapping[str, Signal] | None = None) -> dict[str, Signal]:
    """
    Return the signals that a guard on an edge of `next` leaving *node* may read, by name; `on_error` edges take none.

    Args:
        common: What `everywhere` gave, where the caller asks for many nodes.
    """
    names = dict(everywhere(graph) if common is None else common)
    for output in outputs(node):
        name = "output." + output.name.rpartition(".")[2]
        names[name] = Signal(name, output.kind, output.slot, output.writer, output.members, output.range, output.optional)

    return names


def accepts(attribute: Attribute, value: Value) -> str:
    """
    Return the reason why *value* cannot stand for *attribute*, or nothing if it can.
    """
    match attribute.type:
        case "string":
            if not isinstance(value, str):
                return f"is {_worded(value)}, and '{attribute.name}' takes text"
            if not is_unicode(value):
                return f"{NOT_UNICODE}, and '{attribute.name}' takes text"
            if len(value) > MAX_ATTRIBUTE_CHARACTERS:
                return f"is {len(value)} characters long, and the most is {MAX_ATTRIBUTE_CHARACTERS}"
            if attribute.enum and value not in attribute.enum:
                return f"is {value!r}, and '{attribute.name}' takes one of: {', '.join(attribute.enum)}"
        case "number":
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return f"is {_worded(value)}, and '{attribute.name}' takes a number"
            # A record holds numbers as JSON does: no NaN, no infinity, and no more than 64 bits of a whole number.
            if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                return f"is a whole number of more than 64 bits, and '{attribute.name}' takes a smaller one"
            if math.isnan(value):
                return f"is not a number (NaN), and '{attribute.name}' takes a number"
            if math.isinf(value):
                return f"is infinite, and '{attribute.name}' takes a finite number"
            if attribute.range and not attribute.range[0] <= value <= attribute.range[1]:
                return f"is {value:g}, and '{attribute.name}' lies in {attribute.range[0]:g} to {attribute.range[1]:g}"
        case "bool":
            if not isinstance(value, bool):
                return f"is {_worded(value)}, and '{attribute.name}' takes true or false"

    return ""


def _worded(value: Value) -> str:
    if isinstance(value, bool):
        return "true or false"

    return "text" if isinstance(value, str) else "a number"
