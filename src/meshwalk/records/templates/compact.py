"""
The variables by which a template reads a compact trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwalk.model import Value
from meshwalk.trace import CompactCall, CompactHop, CompactTrace, Timing, Usage


def unpacked(trace: CompactTrace) -> Iterator[str]:
    """
    Give the statements that unpack a walk like *trace* into variables.

    A field of its first hop is named as in `hop0_at_us`, and one of that hop's call as in `call0_model`, `call0_input_tokens`
    and, where its time is split, `call0_queue_us`.
    """
    for index, hop in enumerate(trace.hops):
        yield f"{_named(f'hop{index}_', CompactHop)} = trace.hops[{index}]"
        if hop.call is None:
            continue
        yield f"{_named(f'call{index}_', CompactCall)} = hop{index}_call"
        yield f"{_named(f'call{index}_', Usage)} = call{index}_usage"
        if any(hop.call.timing):
            yield f"{_named(f'call{index}_', Timing)} = call{index}_timing"


def open_outputs(trace: CompactTrace, hop: CompactHop) -> Iterator[tuple[str, Value]]:
    """
    Give the outputs of *hop* that its template key does not fix.
    """
    for name, value in hop.outputs.items():
        if name != "finish_reason" or not trace.all_stopped:
            yield name, value


def calls_of(trace: CompactTrace) -> Sequence[str]:
    """
    Return the prefix of the variables of each call.
    """
    return [f"call{index}_" for index, hop in enumerate(trace.hops) if hop.call is not None]


def summed(calls: Sequence[str], field: str) -> str:
    """
    Return the expression of the sum of *field* over *calls*.
    """
    return " + ".join([f"{call}{field}" for call in calls]) or "0"


def _named(prefix: str, fields: type[CompactHop | CompactCall | Usage | Timing]) -> str:
    return ", ".join([prefix + name for name in fields._fields])
