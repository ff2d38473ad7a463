"""
The table of prices that the litellm package brings along, read as it is: JSON, an object for each model.

Each row is priced by the token, or refused with its reason.  Marks (`…_above_200k_tokens`) are marks; a tier (`…_batches`,
`…_priority`, `…_flex`) is a row of its own, called `model@tier`, priced as the package prices a call of that tier.  Charges
that a call of text cannot have, such as those of images or audio, are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from meshwalk.model import Mark, Price, Rates


_KINDS: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "input_cost_per_token_cache_hit": "cached",
    "output_cost_per_reasoning_token": "reasoning",
    "cache_creation_input_token_cost": "written",
}
_KEY = re.compile(
    r"(input_cost_per_token_cache_hit|input_cost_per_token|output_cost_per_token|cache_read_input_token_cost|"
    r"output_cost_per_reasoning_token|cache_creation_input_token_cost)(?:_above_(\d+)k_tokens)?(?:_([a-z]+))?"
)
_UNIT = re.compile(r"(?:input_|output_|ocr_|annotation_)?cost_per_([a-z]+)")
_OTHER_CHARGES: Mapping[str, str] = {
    "tiered_pricing": "its prices are in ranges",
    "input_cost_per_request": "each request is charged as well",
    "citation_cost_per_token": "citations are charged as well",
}
# At these providers a call of exactly as many tokens as a mark is past it.
_INCLUSIVE = frozenset({"xai"})

# Nano-dollars for a million tokens, of dollars for one.
_SCALE = Decimal(10) ** 15


class Rows(NamedTuple):
    """
    The rows of such a table, and the reason for each that has no price.
    """

    prices: dict[str, Price]
    refused: dict[str, str]


def read_rows(text: bytes) -> Rows | None:
    """
    Read the table in *text*; None if it is no such table.
    """
    try:
        table: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(table, dict) or not any(isinstance(row, dict) and "litellm_provider" in row for row in table.values()):
        return None
    rows = Rows({}, {})
    for name, row in table.items():
        why = _why_not(name, row)
        if why:
            rows.refused[name] = why
            continue
        for tier, price in _prices(row):
            rows.prices[f"{name}@{tier}" if tier else name] = price

    return rows


def _why_not(name: str, row: Any) -> str:
    """
    Return the reason why *row* has no price by the token; empty if it has one.
    """
    if not isinstance(row, dict) or name == "sample_spec":
        return "it is no model"
    for key, why in _OTHER_CHARGES.items():
        if row.get(key):
            return why
    if any("off_peak" in key for key in row if row[key]):
        return "its prices go by the clock"
    numbers = {key: row.get(key) for key in ("input_cost_per_token", "output_cost_per_token")}
    if all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers.values()):
        return "a price of it is below zero" if any(number < 0 for number in numbers.values() if number is not None) else ""
    units = {match[1] for key in row if row[key] and (match := _UNIT.match(key)) and match[1] != "token"}
    if units:
        return f"it is priced by the {', the '.join(sorted(units))}"

    return f"it has no {' and no '.join(key for key, number in numbers.items() if number is None)}"


def _prices(row: Mapping[str, Any]) -> Iterator[tuple[str, Price]]:
    # By tier, then by mark; a mark of 0 is the price below all of them.
    found: dict[str, dict[int, dict[str, int]]] = {}
    for key, number in row.items():
        match = _KEY.fullmatch(key)
        if match is None or not isinstance(number, int | float) or isinstance(number, bool) or number < 0:
            continue
        kind, mark, tier = _KINDS[match[1]], int(match[2] or 0) * 1000, match[3] or ""
        found.setdefault(tier, {}).setdefault(mark, {}).setdefault(kind, _nano(number))
    plain = found[""]
    inclusive = row.get("litellm_provider") in _INCLUSIVE
    for tier, marks in found.items():
        own = marks.get(0, {})
        base = plain[0] | own
        if tier:
            if not {"input", "output"} <= own.keys():
                continue
            # Thoughts cost what the tier's output does unless it says otherwise; past a mark that it lacks, no tier holds.
            base = base if "reasoning" in own else {kind: rate for kind, rate in base.items() if kind != "reasoning"}
            marks = {mark: plain.get(mark, {}) | marks.get(mark, {}) for mark in plain.keys() | marks.keys()}  # noqa: PLW2901
        dear = [(mark, rates) for mark, rates in sorted(marks.items()) if mark and {"input", "output"} & rates.keys()]
        yield tier, Price(*_rates(base), tuple(Mark(mark - inclusive, _rates(base | rates)) for mark, rates in dear))


def _rates(kinds: Mapping[str, int]) -> Rates:
    return Rates(kinds["input"], kinds["output"], kinds.get("cached"), kinds.get("reasoning"), kinds.get("written"))


def _nano(dollars: float) -> int:
    # Written in decimals, and meant so; finer than a nano-dollar a million tokens is rounded up.
    exact = Decimal(repr(dollars)) * _SCALE

    return int(exact) + (exact != int(exact))
