"""
`meshwalk traces`: what was walked, from a list down to why an edge was taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from meshwalk.cli.options import Json, TracesFolder, Whole
from meshwalk.cli.output import OK, WRONG_USE, Misuse, complain, counted, emit, line, say, say_fitted, write_lines


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from meshwalk.plan import Plan
    from meshwalk.records.store import Damaged, Summary, TraceReader
    from meshwalk.trace import Traversal


# Ids begin with twelve digits of the time, in milliseconds; four more tell walks of one millisecond apart.
_SHORT_ID = 16

# The word that stands for the id of the newest walk; no id is spelt so.
_NEWEST = "last"

# The part of a time that a list shows: "2026-11-30T12:00:00".
_TO_SECONDS = 19

Ending = Literal["answered", "refused", "failed", "cancelled"]

GraphFilter = Annotated[str, Parameter(name="--graph", help="Only walks of this graph.")]
SessionFilter = Annotated[str, Parameter(name="--session", help="Only walks of this session.")]
WorkflowFilter = Annotated[str, Parameter(name="--workflow", help="Only walks of this workflow.")]
OutcomeFilter = Annotated[Ending | None, Parameter(name="--outcome", help="Only walks that ended so.")]


def traces() -> App:
    """
    Put the commands below `meshwalk traces` together.
    """
    commands = App(name="traces", help="List, show and export the walks that were stored.")
    commands.command(list_traces, name="list")
    commands.command(show)
    commands.command(export)

    return commands


def list_traces(
    *,
    traces: TracesFolder,
    graph: GraphFilter = "",
    session: SessionFilter = "",
    workflow: WorkflowFilter = "",
    outcome: OutcomeFilter = None,
    limit: Annotated[int, Whole] = 50,
    before: Annotated[str, Parameter(name="--before")] = "",
    json: Json = False,
) -> int:
    """
    List what was walked, newest first.

    Parameters
    ----------
    limit
        How many to list.
    before
        The id of the last walk listed before: go on behind it.
    """
    from meshwalk.records.store import TraceReader

    with TraceReader(traces) as reader:
        # One row more than is shown tells whether there are others.
        rows = reader.list(
            graph=graph, session=session, workflow=workflow, outcome=outcome or "", limit=limit + 1, before=before
        )
    rows, more = rows[:limit], len(rows) > limit
    if json:
        emit({"traversals": [_summary(row) for row in rows], "more": more})
    else:
        _show_list(rows)
        if more:
            say_fitted(f"There are more: `--limit` lists more at once, `--before {rows[-1].traversal_id}` goes on from here.")

    return OK


def show(traversal_id: str, /, *, traces: TracesFolder, json: Json = False) -> int:
    """
    Show one walk: its hops, where the time went, and why each edge was taken or not.

    Parameters
    ----------
    traversal_id
        The walk's id, a beginning of it (6 characters at least) that no other has, or `last` for the newest walk.
    """
    from meshwalk.cli.shapes import explained_document
    from meshwalk.cli.show import console, trace_table
    from meshwalk.records.hops import hops_of
    from meshwalk.records.store import TraceReader
    from meshwalk.review.replay import legible

    with TraceReader(traces) as reader:
        traversal = find(reader, traversal_id)
        plan = _plan_of(reader, traversal)
    if json:
        emit(explained_document(traversal, plan))
    else:
        with legible(traversal):
            shown = trace_table(traversal, hops_of(traversal, plan), plan)
        console().print(shown)

    return OK


def export(
    *,
    traces: TracesFolder,
    graph: GraphFilter = "",
    session: SessionFilter = "",
    workflow: WorkflowFilter = "",
    outcome: OutcomeFilter = None,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    json: Json = False,
) -> int:
    """
    Print walks as JSON lines, oldest first, each as `show --json` prints it but without explanations.

    Exits with 2 if a record cannot be read; the others are printed all the same.

    Parameters
    ----------
    output
        The file to write; stdout without it.
    json
        One JSON document that holds them all, in place of a line each.
    """
    from meshwalk.records.store import TraceReader

    damaged: list[Damaged] = []
    with TraceReader(traces) as reader:
        walks = reader.traversals(
            graph=graph, session=session, workflow=workflow, outcome=outcome or "", damaged=damaged.append
        )
        records = _documents(reader, walks, damaged)
        if output is not None:
            count = write_lines(output, (line(record) for record in records), private=True)
            _say_written(output, count, damaged, json)
        elif json:
            emit({"traversals": list(records), "damaged": _left_out(damaged)})
        else:
            for record in records:
                say(line(record))
    for one in damaged:
        complain(f"left out: {one.traversal_id}: {one.reason}")

    return WRONG_USE if damaged else OK


def _documents(reader: TraceReader, walks: Iterable[Traversal], damaged: list[Damaged]) -> Iterator[dict[str, Any]]:
    from meshwalk.cli.shapes import record_document
    from meshwalk.model.problems import TraceError
    from meshwalk.records.store import Damaged

    for traversal in walks:
        try:
            yield record_document(traversal, _plan_of(reader, traversal))
        except TraceError as error:
            damaged.append(Damaged(traversal.traversal_id, traversal.plan_digest, str(error)))


def _left_out(damaged: Sequence[Damaged]) -> list[dict[str, str]]:
    return [one._asdict() for one in damaged]


def _say_written(output: str, count: int, damaged: Sequence[Damaged], as_json: bool) -> None:
    if as_json:
        emit({"file": output, "traversals": count, "damaged": _left_out(damaged)})
    else:
        say(f"{output}: {counted(count, 'walk')}")


def find(reader: TraceReader, traversal_id: str) -> Traversal:
    """
    Return a walk by its id, by a beginning of it, or the newest for `last`.

    Raises:
        Misuse: If there is none.
        TraceError: If several ids begin so, or the record cannot be read.
    """
    from meshwalk.records.store import SHORTEST_PREFIX

    if traversal_id == _NEWEST:
        newest = reader.list(limit=1)
        if not newest:
            raise Misuse(f"there is no walk in '{reader.folder}'; `meshwalk route --traces` stores one")
        traversal_id = newest[0].traversal_id
    traversal = reader.get(traversal_id)
    if traversal is None:
        short = (
            f"a beginning of an id has at least {SHORTEST_PREFIX} characters, and "
            if len(traversal_id) < SHORTEST_PREFIX
            else ""
        )
        raise Misuse(
            f"there is no walk {traversal_id!r} in '{reader.folder}'; {short}`meshwalk traces list` names those there are"
        )

    return traversal


def _plan_of(reader: TraceReader, traversal: Traversal) -> Plan:
    plan = reader.plan(traversal.plan_digest)
    if plan is None:
        from meshwalk.model.problems import TraceError

        raise TraceError(
            f"the plan {traversal.plan_digest} that walk {traversal.traversal_id} took is not in '{reader.folder}'",
            plan_digest=traversal.plan_digest,
        )

    return plan


def _summary(row: Summary) -> dict[str, Any]:
    from meshwalk.cli.shapes import wall_time

    return {
        "traversal_id": row.traversal_id,
        "trace_id": row.trace_id,
        "began": wall_time(row.began_unix_us),
        "graph": row.graph,
        "version": row.version,
        "plan_digest": row.plan_digest,
        "session": row.session,
        "workflow": row.workflow,
        "outcome": row.outcome,
        "cause": row.cause,
        "path": list(row.path),
        "cost_usd": row.cost_usd,
        "latency_us": row.latency_us,
        "engine_us": row.engine_us,
    }


def _show_list(rows: Sequence[Summary]) -> None:
    from meshwalk.cli.shapes import wall_time
    from meshwalk.cli.show import console, table

    out = console()
    # A program that reads the list gets whole ids.
    length = unique_length([row.traversal_id for row in rows]) if out.is_terminal else None
    out.print(
        table(
            "Walks, newest first",
            ("traversal", "began", "graph", "outcome", "path", "USD", "ms"),
            (
                (
                    row.traversal_id[:length],
                    wall_time(row.began_unix_us)[:_TO_SECONDS],
                    row.graph,
                    f"{row.outcome} ({row.cause})" if row.cause else row.outcome,
                    " > ".join(row.path),
                    f"{row.cost_usd:.6f}",
                    f"{row.latency_us / 1000:.2f}",
                )
                for row in rows
            ),
            right=(5, 6),
            drop=("ms", "graph", "began"),
        )
    )


def unique_length(ids: Sequence[str]) -> int:
    """
    Return how many characters tell *ids* apart, and as many more as make a clash with an id that is not listed unlikely.
    """
    length = _SHORT_ID
    while len({id_[:length] for id_ in ids}) < len(set(ids)):
        length += 1

    return length
