"""
The tokens that a server counted, as they are billed.

Servers differ in what they count beside what: thoughts stand inside the completion or beside it, cached input inside the prompt
or beside it.  The total shows which; where there is none, a part that is larger than its whole proves that it stands beside.  A
count that cannot be read, and a count of nought for something that is there, is no count.  Of several usages of one stream the
largest of each part stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

from meshwalk.backends.openai import spellings
from meshwalk.trace import Usage


_NANO_USD = 1_000_000_000
# No call costs more; what says so is no price.
_DEAREST_USD = 1e6


class Billed(NamedTuple):
    """
    The usage of a call, with what is known of it.

    Args:
        estimated: Whether a part of it is an estimate.
        mended: Whether it is not what the server literally said.
    """

    usage: Usage
    estimated: bool = False
    mended: bool = False


class Seen(NamedTuple):
    """
    Estimates of what went out and came in, for the parts that nobody counted.

    Args:
        output: The answer, its thoughts and its tool calls together; 0 where nothing came.
        reasoning: The thoughts among them.
    """

    input: int
    output: int
    reasoning: int = 0


class Counts:
    """
    The counts of one answer, as far as its server has stated them.

    Attributes:
        stated: Whether any part was counted.
        output_stated: Whether the usage that was read last counts what came.
        cost_nano_usd: What the provider says that the call costs; None where it does not.
    """

    __slots__ = ("_apart", "_parts", "_stale", "cost_nano_usd", "output_stated", "stated")

    def __init__(self) -> None:
        self._parts = dict.fromkeys(spellings.COUNTED, 0)
        self._apart = False
        # True once more of the answer came after its tokens were counted.
        self._stale = False
        self.stated = self.output_stated = False
        self.cost_nano_usd: int | None = None

    def came(self) -> None:
        """
        Mark that a part of the answer came, so that earlier counts are not of the whole.
        """
        self._stale = True

    def read(self, given: Any) -> None:
        """
        Take the usage that stands in an answer or in a chunk of one.
        """
        if not isinstance(given, dict):
            return
        found = _counts_in(given)
        for key, value in given.items():
            if isinstance(value, dict) and key.lower().endswith("details"):
                for part, count in _counts_in(value).items():
                    found[part] = max(found.get(part, 0), count)
        if not found:
            found = next((counts for name in spellings.USAGE_INSIDE if (counts := _counts_in(given.get(name)))), {})
        self._apart |= spellings.APART_INPUT in given and any(given.get(name) for name in spellings.APART_CACHE)
        self._take(found)
        for name in spellings.COST_FIELDS:
            if given.get(name) is not None:
                self._cost(given[name])

    def restated(self) -> None:
        """
        Note that the counts stand in a chunk of their own, behind all that came.
        """
        self._stale = False

    def read_timings(self, given: Any) -> None:
        """
        Take the counts that llama.cpp tells of beside an answer.
        """
        if not isinstance(given, dict):
            return

        def total(names: tuple[str, ...]) -> int:
            return sum(_count(given.get(name)) for name in names)

        if _count(given.get(spellings.TIMED_OUTPUT[0])):
            self._take({
                "input": total(spellings.TIMED_INPUT),
                "cached": total(spellings.TIMED_CACHED),
                "output": total(spellings.TIMED_OUTPUT),
            })  # fmt: skip

    def read_cost(self, given: str) -> None:
        """
        Read the cost of the call, in dollars, from a text.
        """
        try:
            self._cost(float(given))
        except ValueError:
            return

    def _cost(self, given: Any) -> None:
        if isinstance(given, str):
            self.read_cost(given)
        elif isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < _DEAREST_USD:
            # Written in decimals, and meant so: the nearest nano-dollar is the one that was meant.
            self.cost_nano_usd = max(self.cost_nano_usd or 0, round(given * _NANO_USD))

    def _take(self, found: Mapping[str, int]) -> None:
        parts = self._parts
        self.stated |= any(found.values())
        self.output_stated |= found.get("output", 0) > 0
        if found.get("output", 0) > parts["output"] or (found.get("total", 0) > parts["total"] and not found.get("output")):
            self._stale = False
        for part, count in found.items():
            parts[part] = max(parts[part], count)

    def billed(self, seen: Seen) -> Billed:
        """
        Return the billed tokens; *seen* stands for those that nobody counted.
        """
        total, cached, cache_write = self._parts["total"], self._parts["cached"], self._parts["cache_write"]
        incoming, outgoing, reasoning = self._parts["input"], self._parts["output"], self._parts["reasoning"]
        mended = estimated = False
        if incoming and outgoing:
            more_in, more_out, reasoning = self._beside(incoming, outgoing)
            mended = bool(more_in or more_out)
            incoming, outgoing = incoming + more_in, outgoing + more_out
        elif outgoing and total > outgoing:
            # More thoughts than output prove that they stand beside it.
            outgoing += reasoning if outgoing < reasoning < total - outgoing else 0
            incoming, mended = total - outgoing, True
        elif outgoing and self._apart and not total:
            incoming = cached + cache_write
        elif incoming and total > incoming and not (outgoing and not reasoning):
            outgoing, mended = total - incoming, True
        elif reasoning > outgoing:
            answer = max(0, seen.output - seen.reasoning)
            outgoing, mended, estimated = reasoning + answer, True, answer > 0
        if not incoming and not outgoing and total:
            outgoing = max(seen.output, total - seen.input) if seen.output else 0
            incoming, estimated = max(0, total - outgoing), True
        if not incoming and seen.input:
            incoming, estimated = seen.input, True
        if (not outgoing or self._stale) and seen.output > outgoing:
            outgoing, estimated = seen.output, True
            reasoning = max(reasoning, min(seen.reasoning, outgoing))
        cached = min(cached, incoming)

        return Billed(
            Usage(incoming, outgoing, cached, min(reasoning, outgoing), min(cache_write, incoming - cached)),
            estimated,
            mended or (estimated and self.stated),
        )

    def _beside(self, incoming: int, outgoing: int) -> tuple[int, int, int]:
        """
        Return the tokens billed beside the input and beside the output, and the thoughts among the latter.
        """
        parts = self._parts
        total, reasoning = parts["total"], parts["reasoning"]
        if not total:
            apart = parts["cached"] + parts["cache_write"] if self._apart else 0
            return apart, reasoning if reasoning > outgoing else 0, reasoning
        gap = total - incoming - outgoing
        if gap <= 0:
            return 0, 0, reasoning
        beside = [name for name in ("reasoning", "cached", "cache_write") if parts[name]]
        for size in range(1, len(beside) + 1):
            for chosen in combinations(beside, size):
                if sum(parts[name] for name in chosen) == gap:
                    thoughts = reasoning if "reasoning" in chosen else 0
                    return gap - thoughts, thoughts, reasoning

        # Nothing that was named explains it: what is billed and not shown are thoughts.
        return 0, gap, max(reasoning, gap)


def _counts_in(given: Any) -> dict[str, int]:
    """
    Return the counts in a mapping, by the part that each is of.
    """
    found: dict[str, int] = {}
    if isinstance(given, dict):
        for name, value in given.items():
            part = spellings.part_of(name)
            if part and (count := _count(value)):
                found[part] = max(found.get(part, 0), count)

    return found


def _count(given: Any) -> int:
    """
    Read a count of tokens; 0 is none.
    """
    if isinstance(given, str) and given.strip().isascii() and given.strip().isdigit() and len(given) < 20:
        return int(given)
    if isinstance(given, float) and math.isfinite(given) and given.is_integer():
        given = int(given)

    return given if type(given) is int and 0 < given < 1 << 53 else 0
