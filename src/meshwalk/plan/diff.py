"""
The differences in meaning between two plans, as sentences.

Plans are compared by their canonical forms, so that comments, key order, spacing, addresses and descriptions are no
difference: there is none exactly where the plan digests are equal, and none but threshold values exactly where the shape
digests are.

Everything has its name, and a name that is gone and a new one are told as that: renames are not guessed.  Only edges need not
have one.  They are matched by `id`; then as they are; then by target and guard; and what is left of a list is one edge
changed where the target, or else the guard, leaves a single pair to choose.  A list's order decides, so the fewest
edges that must have moved are told as moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from meshwalk.plan import Plan


Kind = Literal["added", "removed", "changed", "moved"]

_MAX_CHARS = 100


class Difference(NamedTuple):
    """
    One change.

    Args:
        what: Its place in the graph, as `nodes.screen.max_tokens`; an edge's own keys have its place among the new edges,
            from 0, as `nodes.screen.next[1].when`.
        old: What stood there in the canonical form; None where nothing did.
    """

    kind: Kind
    what: str
    old: Any
    new: Any
    message: str


def differences(old: Plan, new: Plan) -> list[Difference]:
    """
    Find what *new* means that *old* did not, and the other way round.
    """
    before, after = orjson.loads(old.canonical), orjson.loads(new.canonical)

    return [*_graphs(before["graph"], after["graph"]), *_hashes(before["hashes"], after["hashes"])]


_NAMED = {"backends": "backend", "budgets": "budget", "nodes": "node", "request": "attribute", "thresholds": "threshold"}
_EDGES = ("next", "on_error")


def _graphs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key in _keys(old, new):
        if key in _NAMED:
            yield from _named(key, old.get(key, {}), new.get(key, {}))
        else:
            yield from _values(key, f"'{key}'", old.get(key), new.get(key))


def _hashes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    for key in _keys(old, new):
        if old.get(key) != new.get(key):
            kind: Kind = "changed" if key in old and key in new else "added" if key in new else "removed"
            message = {
                "changed": f"the file that '{key}' names has other content",
                "added": f"'{key}' names a file that decides",
                "removed": f"'{key}' names no file that decides any more",
            }[kind]
            yield Difference(kind, f"hashes.{key}", old.get(key), new.get(key), message)


def _named(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """
    Compare what an author gave names to.
    """
    for name in _keys(old, new):
        what, whose = f"{section}.{name}", f"{_NAMED[section]} '{name}'"
        if name not in new:
            yield Difference("removed", what, old[name], None, f"{whose} is gone")
        elif name not in old:
            yield Difference("added", what, None, new[name], f"{whose} is new{_introduced(section, new[name])}")
        else:
            for key in _keys(old[name], new[name]):
                was, now = old[name].get(key), new[name].get(key)
                if section == "nodes" and key in _EDGES:
                    yield from _edges(f"{what}.{key}", f"{whose}{_AFTER[key]}", was or [], now or [])
                elif key == "endpoints":
                    yield from _endpoints(f"{what}.{key}", whose, was or [], now or [])
                else:
                    yield from _values(f"{what}.{key}", f"'{key}' of {whose}", was, now)


def _endpoints(
    what: str, whose: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    before, after = ({one["name"]: one for one in side} for side in (old, new))
    for name in _keys(before, after):
        if name not in after:
            yield Difference("removed", f"{what}.{name}", before[name], None, f"endpoint '{name}' of {whose} is gone")
        elif name not in before:
            yield Difference("added", f"{what}.{name}", None, after[name], f"endpoint '{name}' of {whose} is new")
        else:
            for key in _keys(before[name], after[name]):
                was, now = before[name].get(key), after[name].get(key)
                yield from _values(f"{what}.{name}.{key}", f"'{key}' of endpoint '{name}' of {whose}", was, now)


_AFTER = {"next": "", "on_error": " on error"}


_TELLING = ("role", "kind", "backend", "model", "type", "value")
_CAPS = ("cost_usd", "input_tokens", "output_tokens", "calls", "hops", "window")


def _introduced(section: str, value: Mapping[str, Any]) -> str:
    telling = _CAPS if section == "budgets" else _TELLING
    phrases = [f"{key} {_shown(value[key])}" for key in telling if key in value]

    return f" ({', '.join(phrases)})" if phrases else ""


def _values(what: str, whose: str, old: Any, new: Any) -> Iterator[Difference]:
    """
    Compare two values: one by one where both have keys, whole otherwise.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in _keys(old, new):
            inner = f"'{key}' in {whose}" if whose.startswith("'") else f"'{key}' of {whose}"
            yield from _values(f"{what}.{key}", inner, old.get(key), new.get(key))
    elif old is None and new is not None:
        yield Difference("added", what, old, new, f"{whose} is new: {_shown(new)}")
    elif new is None and old is not None:
        yield Difference("removed", what, old, new, f"{whose} is gone, and was {_shown(old)}")
    elif not _same(old, new):
        yield Difference("changed", what, old, new, f"{whose}: {_shown(old)} → {_shown(new)}")


def _keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(old.keys() | new.keys())


def _printed(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _same(old: Any, new: Any) -> bool:
    # Digests are over text: true is not 1, and -0.0 is not 0.0.
    return _printed(old) == _printed(new)


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else _printed(value).decode()

    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS // 2]} … {text[-_MAX_CHARS // 2 :]}"


# ---- edges ----------------------------------------------------------------------------------------------------------

_Edge = Mapping[str, Any]
_Key = Callable[[_Edge], Hashable]


def _edges(what: str, whose: str, old: Sequence[_Edge], new: Sequence[_Edge]) -> Iterator[Difference]:
    pairs = _matched(old, new)
    for at in sorted(set(range(len(old))) - pairs.keys()):
        yield Difference("removed", what, old[at], None, f"{whose} has lost its edge {_way(old[at])}, tried {_place(at)}")
    for at in sorted(set(range(len(new))) - set(pairs.values())):
        yield Difference("added", what, None, new[at], f"{whose} has a new edge {_way(new[at])}, tried {_place(at)}")
    for at in _movers(pairs):
        was, now = _place(at), _place(pairs[at])
        message = f"{whose} tries its edge {_way(new[pairs[at]])}: {was} → {now}"
        yield Difference("moved", what, at, pairs[at], message)
    for at, to in sorted(pairs.items(), key=lambda pair: pair[1]):
        for key in _keys(old[at], new[to]):
            edge = f"'{key}' of the edge {_way(new[to])} of {whose}"
            yield from _values(f"{what}[{to}].{key}", edge, old[at].get(key), new[to].get(key))


def _way(edge: _Edge) -> str:
    named = f" '{edge['id']}'" if "id" in edge else ""
    classes = f" for {', '.join(edge['class'])}" if "class" in edge else ""
    when = f" when {edge['when']}" if "when" in edge else ""

    return f"{named.lstrip()}{' ' if named else ''}to '{edge['to']}'{classes}{when}"


_PLACES = {0: "first", 1: "second", 2: "third"}


def _place(at: int) -> str:
    return _PLACES.get(at, f"at place {at + 1}")


def _matched(old: Sequence[_Edge], new: Sequence[_Edge]) -> dict[int, int]:
    """
    Find which new edge each old one became, by their positions.
    """
    pairs: dict[int, int] = {}
    _match(old, new, pairs, lambda edge: edge.get("id"))
    _match(old, new, pairs, _printed)
    _match(old, new, pairs, lambda edge: (edge["to"], _guard(edge)))
    for key in (lambda edge: edge["to"], _guard):
        _match(old, new, pairs, key, only_pairs=True)

    return pairs


def _guard(edge: _Edge) -> Hashable:
    return edge.get("when", ""), tuple(edge.get("class", ()))


def _match(old: Sequence[_Edge], new: Sequence[_Edge], pairs: dict[int, int], key: _Key, *, only_pairs: bool = False) -> None:
    """
    Add to *pairs* the edges left that have the same key, in order.

    Args:
        only_pairs: Leave keys alone that several edges of a list have.
    """
    before = _by_key(old, pairs.keys(), key)
    after = _by_key(new, set(pairs.values()), key)
    for shared in before.keys() & after.keys():
        if not only_pairs or len(before[shared]) == len(after[shared]) == 1:
            pairs.update(zip(before[shared], after[shared], strict=False))


def _by_key(edges: Sequence[_Edge], taken: Any, key: _Key) -> dict[Hashable, list[int]]:
    positions: dict[Hashable, list[int]] = {}
    for at, edge in enumerate(edges):
        value = key(edge)
        if at not in taken and value is not None:
            positions.setdefault(value, []).append(at)

    return positions


def _movers(pairs: Mapping[int, int]) -> list[int]:
    """
    Find the fewest edges whose move explains the new order, by a longest rising run of the rest.
    """
    order = sorted(pairs)
    tails: list[int] = []
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for at in order:
        rank = bisect_left(tails, pairs[at])
        before[at] = ends[rank - 1] if rank else None
        tails[rank : rank + 1] = [pairs[at]]
        ends[rank : rank + 1] = [at]
    stayed: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        stayed.add(last)
        last = before[last]

    return [at for at in order if at not in stayed]
