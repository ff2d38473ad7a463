"""
`TraceService`: the records of walks, read from the trace store.

Reading waits for a disk, so a worker thread does it.
"""

from __future__ import annotations

from anyio import to_thread

from meshwalk.model.problems import RequestError, SetupError, TraceError, Violation
from meshwalk.plan import Plan
from meshwalk.records.results import PlanRef
from meshwalk.records.store import Summary as Row
from meshwalk.records.store import TraceReader
from meshwalk.server.calls import Context, rich_errors
from meshwalk.server.identity.caller import Caller, caller
from meshwalk.server.paging import page_size, unknown_page
from meshwalk.server.registry import MeshRegistry
from meshwalk.trace import Outcome, Scopes, Traversal
from meshwalk.wire import convert
from meshwalk.wire.errors import NotFound
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, trace_pb2, trace_pb2_grpc
from meshwalk.wire.types import Summary


class Traces(trace_pb2_grpc.TraceServiceServicer):
    """
    The records that *reader* reads; None if the server keeps none.
    """

    def __init__(self, served: MeshRegistry, reader: TraceReader | None) -> None:
        self._served = served
        self._reader = reader

    @rich_errors
    async def GetTraversal(  # noqa: N802
        self, request: trace_pb2.GetTraversalRequest, context: Context
    ) -> trace_pb2.GetTraversalResponse:
        """
        Return one record; that of another tenant's walk is not there.
        """
        del context

        return await to_thread.run_sync(self._get, self._opened(), request.traversal_id, caller())

    @rich_errors
    async def ListTraversals(  # noqa: N802
        self, request: trace_pb2.ListTraversalsRequest, context: Context
    ) -> trace_pb2.ListTraversalsResponse:
        """
        List records, newest first.
        """
        del context
        reader = self._opened()
        size, outcome = page_size(request), _outcome(request)

        return await to_thread.run_sync(_list, reader, request, size, outcome, caller().tenant or self._served.tenant)

    def _opened(self) -> TraceReader:
        if self._reader is None:
            raise SetupError("this server keeps no records of walks; start it with `--traces DIR`")

        return self._reader

    def _get(self, reader: TraceReader, traversal_id: str, known: Caller) -> trace_pb2.GetTraversalResponse:
        traversal = reader.get(traversal_id, known.tenant or self._served.tenant)
        if traversal is None:
            raise NotFound([Violation("traversal_id", f"there is no record {traversal_id[:80]!r} here")])

        plan = self._plan(reader, traversal)
        record = convert.pack_record(traversal, convert.Prototypes(plan), full=True)
        if "read-content" not in known.rights and (plan.graph.recording.content or traversal.content is not None):
            convert.leave_out_content(record)

        return trace_pb2.GetTraversalResponse(traversal=record)

    def _plan(self, reader: TraceReader, traversal: Traversal) -> Plan:
        """
        Return the plan that *traversal* walked: one that is served, or an earlier one from the store.
        """
        digest = traversal.plan_digest
        plan = next((mesh.plan for mesh in self._served if mesh.plan.plan_digest == digest), None) or reader.plan(digest)
        if plan is None:
            raise TraceError(f"the plan {digest} that this record walked is not here", plan_digest=digest)

        return plan


def _outcome(request: trace_pb2.ListTraversalsRequest) -> Outcome | None:
    if request.outcome == common_pb2.OUTCOME_UNSPECIFIED:
        return None
    if request.outcome not in common_pb2.Outcome.values():
        raise RequestError([Violation("outcome", f"is {request.outcome}, and this server knows no such outcome")])

    return convert.OUTCOMES.word(request.outcome)


def _list(
    reader: TraceReader, request: trace_pb2.ListTraversalsRequest, size: int, outcome: Outcome | None, tenant: str
) -> trace_pb2.ListTraversalsResponse:
    token = request.page_token
    if token and reader.get(token, tenant) is None:
        raise unknown_page()
    # One more than was asked for tells whether there is a next page.
    rows = reader.list(
        graph=request.graph,
        session=request.session,
        workflow=request.workflow,
        outcome="" if outcome is None else outcome.value,
        tenant=tenant,
        limit=size + 1,
        before=token,
    )
    page = rows[:size]

    return trace_pb2.ListTraversalsResponse(
        traversals=[convert.pack_summary(_summary(row)) for row in page],
        next_page_token=page[-1].traversal_id if len(rows) > size else "",
    )


def _stored_outcome(row: Row) -> Outcome:
    try:
        return Outcome(row.outcome)
    except ValueError:
        raise TraceError(f"the row of walk {row.traversal_id} is damaged: its outcome is {row.outcome[:80]!r}") from None


def _summary(row: Row) -> Summary:
    return Summary(
        traversal_id=row.traversal_id,
        trace_id=row.trace_id,
        plan=PlanRef(row.graph, row.version, row.shape_digest, row.plan_digest),
        scopes=Scopes(row.session, row.workflow),
        outcome=_stored_outcome(row),
        cause=row.cause,
        path=row.path,
        answer_node=row.answer,
        began_unix_us=row.began_unix_us,
        latency_us=row.latency_us,
        engine_us=row.engine_us,
        cost_nano_usd=row.cost_nano_usd,
    )
