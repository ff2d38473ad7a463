"""
Our closure against the CEL library's own evaluator, which never runs in production.

The library is shown each guard as CEL proper: numbers as doubles, `size` with a double for a result, and `has(x)` as a name
of its own, since it knows no unbound name.  Its error, from a name that is not bound, is our undetermined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshwalk.guards import Expr, canonical, check, compile_test
from meshwalk.guards.tokens import Sort, Token, tokenise
from meshwalk.model import Value
from meshwalk.model.signals import Kind
from tests.guards.guard_samples import OPEN, SLOTS, contexts, trees


Context = Mapping[str, Value | None]

# What each guard is asked with; together at least 5,000 questions, of which each answer is to be a fair share.
GUARDS, CONTEXTS, SHARE = 640, 8, 200


@lru_cache(maxsize=1)
def _library() -> Any:
    types = {
        Kind.NUMBER: cel.Type.DOUBLE,
        Kind.TEXT: cel.Type.STRING,
        Kind.BOOL: cel.Type.BOOL,
        Kind.DURATION: cel.Type.DURATION,
    }
    size = cel.Overload("size_t", cel.Type.DOUBLE, [cel.Type.STRING], impl=lambda text: float(len(text)))
    known = {f"known.{name}": cel.Type.BOOL for name in OPEN}

    return cel.NewEnv(
        variables={name: types[signal.kind] for name, signal in OPEN.items()} | known,
        functions=[cel.FunctionDecl("size_", [size])],
    )


def _bound(context: Context) -> dict[str, Any]:
    """
    Give the library each determined signal's value under its name; an undetermined one is left unbound.
    """
    bound: dict[str, Any] = {}
    for name, signal in OPEN.items():
        value = context.get(signal.slot) if signal.constant is None else signal.constant
        bound[f"known.{name}"] = value is not None
        if value is not None:
            bound[name] = timedelta(microseconds=int(value)) if signal.kind is Kind.DURATION else value

    return bound


def _for_library(text: str) -> str:
    def word(token: Token) -> str:
        if token.sort is Sort.NUMBER:
            return repr(token.value)
        return "size_" if token.text == "size" else token.text

    tokens = tokenise(text).tokens
    words, at = [], 0
    while at < len(tokens):
        if tokens[at].text == "has":
            words.append(f"known.{tokens[at + 2].text}")
            at += 4
        else:
            words.append(word(tokens[at]))
            at += 1

    return " ".join(words)


def _verdict(expression: Any, context: Context) -> bool | None:
    said = expression.eval(data=_bound(context))
    verdict: bool | None = said.value() if said.type() == cel.Type.BOOL else None

    return verdict


@pytest.mark.slow
def test_compiled_agrees_with_the_library() -> None:
    """
    Over thousands of guards and values, bound or not, the library says the same of a guard's text as its code object.
    """
    said: Counter[bool | None] = Counter()

    # Eight contexts at once take long to draw on a busy machine, which says nothing about the guards.
    @settings(max_examples=GUARDS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(tree=trees(), several=st.lists(contexts() | contexts(determined=True), min_size=CONTEXTS, max_size=CONTEXTS))
    def agree(tree: Expr, several: list[Context]) -> None:
        text = canonical(tree)
        expression = _library().compile(_for_library(text))
        test = compile_test(check(text, OPEN).tree, SLOTS)
        for context in several:
            verdict = _verdict(expression, context)
            said[verdict] += 1

            assert verdict is test([context[slot] for slot in SLOTS]), (text, context)

    agree()

    assert 5_000 <= said.total()
    assert all(SHARE <= said[verdict] for verdict in (True, False, None)), said


@pytest.mark.parametrize(
    "literal",
    [
        r"'a\n\t\r\\\'\"\?\`'",
        r"'\a\b\f\v'",
        r"'\x41\u00e9\U0001f600\101'",
        r"r'\n'",
        r'R"\d"',
        "'''it's\n\"here\"'''",
        '"""a\\"b"""',
        "''",
        '"é😀"',
    ],
)
def test_text_means_what_the_library_says(literal: str) -> None:
    """
    Every way to write a text gives the text that the CEL library reads.
    """
    (token,) = tokenise(literal).tokens

    assert _library().compile(literal).eval().value() == token.value
