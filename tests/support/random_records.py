"""
Records that no walk made, for laws that hold of every record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from meshwalk.budgets import Need
from meshwalk.model import Amount, AwayPolicy, Caps, Limits, Role, Sampling, ScopeKind, Value
from meshwalk.model.problems import ErrorClass
from meshwalk.model.signals import Section
from meshwalk.records.hops import VERDICTS, Considered, Hop, HopStatus, PrefixVerdict
from meshwalk.trace import (
    Attempt,
    Basis,
    Began,
    CompactCall,
    CompactHop,
    CompactTrace,
    Content,
    Decision,
    Entry,
    Facts,
    Finish,
    FullTrace,
    Message,
    Scopes,
    ScopeView,
    Source,
    Timing,
    Traversal,
    Usage,
    Wish,
)


WORDS = st.text(max_size=8)
WHOLE = st.integers(0, 2**62)
REAL = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Value] = st.one_of(WORDS, REAL, st.booleans())

_BY_TYPE: Mapping[Any, st.SearchStrategy[Any]] = {
    int: WHOLE,
    int | None: st.none() | WHOLE,
    CompactCall | None: st.deferred(lambda: st.none() | filled(CompactCall)),
    str: WORDS,
    float: REAL,
    float | None: st.none() | REAL,
    tuple[str, ...] | None: st.none() | st.lists(WORDS, max_size=2).map(tuple),
    tuple[tuple[str, int], ...]: st.lists(st.tuples(WORDS, WHOLE), max_size=3).map(tuple),
    tuple[tuple[str, Value], ...]: st.lists(st.tuples(WORDS, VALUES), max_size=3).map(tuple),
    Mapping[str, Value]: st.dictionaries(WORDS, VALUES, max_size=3),
}


def filled(kind: type[Any]) -> st.SearchStrategy[Any]:
    """
    Make a record's part with every field filled in, none left at its default.
    """
    return st.builds(kind, **{name: _value(hint) for name, hint in get_type_hints(kind).items()})


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if hint in _PARTS:
        return filled(hint)
    if get_args(hint)[1:] == (...,):
        return st.lists(_value(get_args(hint)[0]), max_size=2).map(tuple)

    return st.from_type(hint)


_PARTS = {Amount, Attempt, CompactCall, Caps, Facts, CompactHop, Limits, Message, Sampling, Scopes, Timing, Usage, ScopeView}

ENTRIES: st.SearchStrategy[Entry] = st.one_of([filled(kind) for kind in get_args(Entry)])
WISHES: st.SearchStrategy[Wish] = st.one_of([filled(kind) for kind in get_args(Wish)])


@st.composite
def traversals(draw: st.DrawFn) -> Traversal:
    """
    Make a record that begins, ends, and between says anything at all.
    """
    steps = [
        (entry, tuple(wishes)) for entry, wishes in draw(st.lists(st.tuples(ENTRIES, st.lists(WISHES, max_size=2)), max_size=4))
    ]
    first = (draw(filled(Began)), tuple(draw(st.lists(WISHES, max_size=2))))
    last = (draw(ENTRIES), (draw(filled(Finish)),))
    content = st.builds(Content, messages=_value(tuple[Message, ...]), answer=WORDS)

    full = FullTrace(draw(st.lists(WORDS, max_size=3)), [first, *steps, last], draw(st.lists(filled(Decision), max_size=3)))
    compact = filled(CompactTrace).filter(lambda trace: bool(trace.hops))

    return Traversal(
        draw(filled(Source)),
        **{name: draw(WORDS) for name in ("traversal_id", "trace_id", "span_id", "parent_span_id")},
        sampled=draw(st.booleans()),
        began_unix_us=draw(WHOLE),
        trace=draw(st.just(full) | compact),
        content=draw(st.none() | content),
    )


# All that the wire's numbers can hold.
_INT64 = st.integers(-(2**63), 2**63 - 1)
# Tokens in, calls and hops are always bounded.
_NEEDS = st.builds(Need, st.none() | _INT64, _INT64, st.none() | _INT64, _INT64, _INT64)
# Closed sets, which the wire has enums for; empty stands for nothing.
_ERROR_CLASSES = st.sampled_from(["", *get_args(ErrorClass)])
_SCOPES = st.sampled_from(["", "request", *get_args(ScopeKind)])
_AWAY = st.sampled_from(["", *get_args(AwayPolicy)])
_VIEWS = st.lists(st.builds(ScopeView._replace, filled(ScopeView), scope=_SCOPES, away=_AWAY), max_size=2).map(tuple)
_ATTEMPTS = st.lists(st.builds(Attempt._replace, filled(Attempt), error_class=_ERROR_CLASSES), max_size=2).map(tuple)
_OUTPUTS: st.SearchStrategy[dict[str, Value]] = st.dictionaries(WORDS, VALUES, max_size=3)


@st.composite
def hops(draw: st.DrawFn) -> Hop:
    """
    Make a hop that says anything at all, and whose decision, if there is one, considered the edges that it shows.
    """
    hop = Hop(draw(_INT64), draw(_INT64), draw(WORDS), draw(st.sampled_from(get_args(Role))), draw(_INT64))
    hop.status = draw(st.sampled_from(get_args(HopStatus)))
    for name in ("latency_us", "engine_us", "budget_wait_us", "backoff_us", "cost_nano_usd"):
        setattr(hop, name, draw(_INT64))
    hop.need = draw(st.none() | _NEEDS)
    hop.timing = draw(filled(Timing))
    hop.attempts = draw(_ATTEMPTS)
    hop.usage = draw(filled(Usage))
    hop.basis = draw(st.sampled_from(get_args(Basis)))
    hop.outputs = draw(_OUTPUTS)
    hop.prefix_verdict = draw(st.none() | st.builds(PrefixVerdict, _INT64, _INT64, _OUTPUTS, st.booleans()))
    hop.granted_views, hop.views = draw(st.tuples(_VIEWS, _VIEWS))
    hop.error_class, hop.message, hop.scope = draw(_ERROR_CLASSES), draw(WORDS), draw(_SCOPES)
    if draw(st.booleans()):
        verdicts = draw(st.text(alphabet="".join(VERDICTS), max_size=4))
        hop.considered = tuple(Considered(draw(WORDS), draw(WORDS), VERDICTS[verdict]) for verdict in verdicts)
        section: Section = draw(st.sampled_from(get_args(Section)))
        error_class = hop.error_class if section == "on_error" else ""
        hop.edge, place = draw(WORDS), draw(st.integers(-1, 5))
        hop.decision = Decision(hop.index, section, place, hop.edge, verdicts, error_class)

    return hop
