"""
The faults of a graph's prices and caches: every sentence, code and remedy in one place.

Each function is named for its fault and returns it.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span
from meshwalk.model.spelling import did_you_mean


_SHOWN = 8


# ---- prices ---------------------------------------------------------------------------------------------------------


def no_row(span: Span, backend: str, name: str, table: str, known: Iterable[str]) -> Problem:
    known = tuple(known)
    shown = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")

    return Problem(
        span,
        "unknown-price",
        f"backend '{backend}' takes its price from the row {quoted(name)}, and {quoted(table)} has no such row",
        did_you_mean(name, known) or (f"it has: {shown}" if known else "it has no rows"),
    )


def shared_row(span: Span, backend: str, name: str, choices: Iterable[str]) -> Problem:
    return Problem(
        span,
        "ambiguous-price",
        f"backend '{backend}' takes its price from the row {quoted(name)}, which several providers have",
        f"name one of them: {', '.join(choices)}",
    )


def nothing_to_look_in(span: Span, backend: str, name: str) -> Problem:
    return Problem(
        span,
        "no-prices",
        f"backend '{backend}' takes its price from the row {quoted(name)}, and the graph names no table of prices",
        "add prices: FILE at the top, or write the price out: usd_per_mtok: {input: 2.5, output: 10}",
    )


def nothing_taken(span: Span, table: str) -> Problem:
    return Problem(
        span,
        "unused-prices",
        f"no backend takes its price from {quoted(table)}",
        "name a row of it, as in usd_per_mtok: gpt-4o, or leave the table out",
        severity="warning",
    )


def prices_of_nothing(span: Span) -> Problem:
    return Problem(
        span, "no-value", "'prices' of the graph says nothing", "name a table of prices, or a version for those in the graph"
    )


def dear_cache(span: Span, subject: str) -> Problem:
    return Problem(
        span,
        "cached-dearer",
        f"in {subject}, input from the provider's cache costs more than other input",
        "providers charge less for it; were the two confused? budgets reserve the higher one",
        severity="warning",
    )


def mark_twice(span: Span, subject: str) -> Problem:
    return Problem(span, "duplicate-mark", f"'above' of {subject} names one mark twice", "remove one of them")


def no_tier(span: Span, subject: str, tier: str, known: Iterable[str]) -> Problem:
    return Problem(
        span,
        "unknown-tier",
        f"{subject} is paid by the tier {quoted(tier)}, and has no price for it",
        f"it has: {', '.join(known) or 'no tiers'}",
    )


def refused_row(span: Span, backend: str, name: str, why: str) -> Problem:
    return Problem(
        span,
        "unpriced-row",
        f"backend '{backend}' takes its price from the row {quoted(name)}, which has none by the token: {why}",
        "write the price out: usd_per_mtok: {input: 2.5, output: 10}",
    )


# ---- caches ---------------------------------------------------------------------------------------------------------


def cache_of_nothing(span: Span, cache: str, of: str, able: Iterable[str]) -> Problem:
    able = tuple(able)
    remedy = did_you_mean(of, able) or (f"there are: {', '.join(able)}" if able else "the graph has no other backends")

    return Problem(
        span, "unknown-backend", f"cache '{cache}' keeps the replies of {quoted(of)}, and there is no such backend", remedy
    )


def cache_of_cache(span: Span, cache: str, of: str, able: Iterable[str]) -> Problem:
    able = tuple(able)
    whose = "itself" if cache == of else f"'{of}', which is a cache as well"

    return Problem(
        span,
        "cache-of-cache",
        f"cache '{cache}' keeps the replies of {whose}",
        f"name the backend that makes them: {', '.join(able)}" if able else "name the backend that makes them",
    )
