"""
The names under which a template finds what a straight walk leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwalk.model import Value
from meshwalk.trace import CompactCall, CompactHop, CompactTrace, Timing, Usage


def unpacked(straight: CompactTrace) -> Iterator[str]:
    """
    Give the statements that unpack a walk like *straight*.

    A field of its first leg is named as in `hop0_at`, and one of that leg's call as in `call0_model`, `call0_input_tokens` and,
    where a split of its time is told, `call0_queue_us`.
    """
    for hop, leg in enumerate(straight.legs):
        yield f"{_named(f'hop{hop}_', CompactHop)} = straight.legs[{hop}]"
        if leg.call is None:
            continue
        yield f"{_named(f'call{hop}_', CompactCall)} = hop{hop}_call"
        yield f"{_named(f'call{hop}_', Usage)} = call{hop}_usage"
        if any(leg.call.timing):
            yield f"{_named(f'call{hop}_', Timing)} = call{hop}_timing"


def open_outputs(straight: CompactTrace, leg: CompactHop) -> Iterator[tuple[str, Value]]:
    """
    Give the outputs of *leg* that the kind of its walk leaves open.
    """
    for name, value in leg.outputs.items():
        if name != "finish_reason" or not straight.stopped:
            yield name, value


def calls_of(straight: CompactTrace) -> Sequence[str]:
    """
    Return what the names of each call's fields begin with.
    """
    return [f"call{hop}_" for hop, leg in enumerate(straight.legs) if leg.call is not None]


def summed(calls: Sequence[str], field: str) -> str:
    """
    Return the expression of the sum of *field* over *calls*.
    """
    return " + ".join([f"{call}{field}" for call in calls]) or "0"


def _named(prefix: str, fields: type[CompactHop | CompactCall | Usage | Timing]) -> str:
    return ", ".join([prefix + name for name in fields._fields])
