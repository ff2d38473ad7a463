"""
A guard's text checked whole: from tokens and grammar to the typed tree, with every fault that can be found.

The order is: length and tokens (ours), depth (ours, before the CEL library sees anything), grammar (the library's), names,
types, members and durations (ours, in `elaborate`), types once more (the library's).  The library is asked last because its
own report hides whatever stands behind the first fault and says it in its own words; a guard runs only if both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from meshwalk.guards import faults, syntax
from meshwalk.guards.elaborate import Elaboration
from meshwalk.guards.faults import MAX_DEPTH, MAX_LENGTH, GuardFault, GuardFaults, Stretch
from meshwalk.guards.syntax import Refused, Term
from meshwalk.guards.tokens import Sort, Token, tokenise
from meshwalk.guards.tree import Expr, canonical, names
from meshwalk.model.signals import Kind, Signal


_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Checked:
    """
    A guard that is fit to be compiled.

    Args:
        reads: The slots it reads, sorted; a threshold has none.
        names: The signals it names, thresholds included, sorted.
        canonical: The same guard in its one spelling.
    """

    text: str
    tree: Expr
    reads: tuple[str, ...]
    names: tuple[str, ...]
    canonical: str


def check(text: str, visible: Mapping[str, Signal]) -> Checked:
    """
    Check a guard against the signals it may read.

    Args:
        visible: The signals by name, as `signals.visible` gives them for the edge.

    Raises:
        GuardFaults: With every fault found.
    """
    if len(text) > MAX_LENGTH:
        raise GuardFaults([faults.too_long(len(text))])
    named = {token.text for token in tokenise(text).tokens if token.sort is Sort.NAME}
    known = {name: visible[name] for name in sorted(named) if name in visible}
    if len(known) == len(named):
        return _check_known(text, tuple(known.items()))

    return _check(text, visible)


@lru_cache(maxsize=8192)
def _check_known(text: str, known: tuple[tuple[str, Signal], ...]) -> Checked:
    # Graphs repeat themselves: the same words over the same signals are the same guard, wherever it stands.
    return _check(text, dict(known))


def _check(text: str, visible: Mapping[str, Signal]) -> Checked:
    tokens, faults = tokenise(text)
    if faults or (faults := _shallow_faults(text, tokens)):
        raise GuardFaults(faults)
    elaboration = Elaboration(tokens, visible)
    tree = elaboration.whole(_parsed(text, tokens))
    if elaboration.faults or tree is None:
        raise GuardFaults(elaboration.faults)
    _judge(text, tokens, elaboration.kinds)
    used = {name.signal for name in names(tree)}
    reads = {signal.slot for signal in used if signal.constant is None}

    return Checked(text, tree, tuple(sorted(reads)), tuple(sorted(signal.name for signal in used)), canonical(tree))


def _shallow_faults(text: str, tokens: Sequence[Token]) -> tuple[GuardFault, ...]:
    if not tokens:
        help = "leave `when` out of an edge that is always taken"
        return (faults.syntax(Stretch(0, len(text)), "this guard is empty", help),)
    depth = 0
    for token in tokens:
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        if depth > MAX_DEPTH:
            return (faults.too_deep(token.place),)

    # The library's report of these has no place in it.
    return tuple(
        faults.foreign(token.place, "optional values")
        for before, token in pairwise(tokens)
        if token.text == "?" and before.text in {".", "["}
    )


def _parsed(text: str, tokens: Sequence[Token]) -> Term:
    try:
        return syntax.checker().parse(syntax.shape(tokens))
    except Refused as refused:
        if refused.index is None:
            raise GuardFaults([faults.too_deep(Stretch(0, len(text)))]) from None
        raise GuardFaults([_syntax_fault(tokens, refused.index)]) from None


def _judge(text: str, tokens: Sequence[Token], kinds: Mapping[int, Kind]) -> None:
    try:
        syntax.checker().judge(syntax.typed_shape(tokens, kinds))
    except Refused as refused:
        place = Stretch(0, len(text)) if refused.index is None else tokens[refused.index].place
        raise GuardFaults([faults.mismatch(place, f"this guard is not taken by the CEL checker: {refused}")]) from None


def _syntax_fault(tokens: Sequence[Token], index: int) -> GuardFault:
    if index >= len(tokens):
        last = tokens[-1]
        return faults.syntax(Stretch(last.offset + last.length, 1), "this guard ends where more is expected", _unclosed(tokens))
    token = tokens[index]
    near = [faults.hint(word.text) for word in tokens[max(0, index - 1) : index + 1]]

    return faults.syntax(token.place, f"'{token.text}' is not expected here", next(filter(None, near), ""))


def _unclosed(tokens: Sequence[Token]) -> str:
    open: list[Token] = []
    for token in tokens:
        if token.text in _OPENING:
            open.append(token)
        elif token.text in _CLOSING and open:
            open.pop()

    return f"the '{open[-1].text}' at character {open[-1].offset + 1} is never closed" if open else ""
