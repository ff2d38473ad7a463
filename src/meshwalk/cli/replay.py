"""
`meshwalk replay`: the same entries to the same plan, and every wish compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import Json, TracesFolder
from meshwalk.cli.output import NO, OK, WRONG_USE, complain, counted, emit, say_fitted


if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshwalk.review.replay import Mismatch, Report


def replay(*ids: Annotated[str, Parameter(name="ID")], traces: TracesFolder, json: Json = False) -> int:
    """
    Decide stored walks again, each over the plan stored beside it, and compare every wish and decision.

    Exits with 1 if a walk decides differently now, and with 2 if a record cannot be read or its plan is not there.

    Parameters
    ----------
    ids
        The ids of walks, beginnings of them that no others have, or `last` for the newest; all walks without them.
    """
    from meshwalk.cli.traces import find
    from meshwalk.records.store import TraceReader
    from meshwalk.review.replay import replay_all

    with TraceReader(traces) as reader:
        report = replay_all(reader, [find(reader, id) for id in ids] if ids else None)
    if json:
        emit(_document(report))
    else:
        _show(report)

    return NO if report.mismatches else WRONG_USE if report.unknown else OK


def _document(report: Report) -> dict[str, Any]:
    return {
        "total": report.total,
        "unchanged": report.unchanged,
        "unidentified": report.unidentified,
        "mismatched": report.mismatched,
        "mismatches": [_mismatch(mismatch) for mismatch in report.mismatches],
        "unknown": [unknown._asdict() for unknown in report.unknown],
    }


def _mismatch(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "traversal_id": mismatch.traversal_id,
        "step": mismatch.step,
        "entry": type(mismatch.entry).__name__,
        "what": mismatch.what,
        "recorded": _texts(mismatch.recorded),
        "replayed": _texts(mismatch.replayed),
    }


def _texts(things: Iterable[object]) -> list[str]:
    return [str(thing) for thing in things]


def _show(report: Report) -> None:
    counts = f"{report.unchanged} unchanged, {report.mismatched} mismatched, {report.unidentified} unidentified"
    say_fitted(f"{counted(report.total, 'walk')}: {counts}")
    for mismatch in report.mismatches:
        complain(f"mismatch: {mismatch}")
    for unknown in report.unknown:
        complain(f"unidentified: {unknown.traversal_id} walked plan {unknown.plan_digest}: {unknown.reason}")
