"""
`GraphService`: the graphs that are served, and the requests that they take.
"""

from __future__ import annotations

from meshwalk.server.calls import Context, rich_errors
from meshwalk.server.identity.caller import caller
from meshwalk.server.paging import page_size, unknown_page
from meshwalk.server.registry import MeshRegistry
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2, graph_pb2_grpc


class Graphs(graph_pb2_grpc.GraphServiceServicer):
    """
    The graphs that are served.
    """

    def __init__(self, served: MeshRegistry) -> None:
        self._served = served

    @rich_errors
    async def ListGraphs(self, request: graph_pb2.ListGraphsRequest, context: Context) -> graph_pb2.ListGraphsResponse:  # noqa: N802
        """
        List the graphs.
        """
        del context
        names = self._served.names(caller())
        plans = [self._served.pick(name).mesh.plan for name in names]
        size, start = page_size(request), 0
        if request.page_token:
            if request.page_token not in names:
                raise unknown_page()
            start = names.index(request.page_token) + 1
        end = start + size

        return graph_pb2.ListGraphsResponse(
            graphs=[convert.pack_graph_info(plan) for plan in plans[start:end]],
            next_page_token=names[end - 1] if end < len(names) else "",
        )

    @rich_errors
    async def DescribeGraph(  # noqa: N802
        self, request: graph_pb2.DescribeGraphRequest, context: Context
    ) -> graph_pb2.DescribeGraphResponse:
        """
        Describe one graph: to who may not read, only what a request needs.
        """
        del context
        known = caller()
        plan = self._served.pick(request.graph, known).mesh.plan
        if "read" not in known.rights:
            return convert.pack_callable(plan)
        # Few servers are ever asked for a drawing, so the import waits.
        from meshwalk import draw  # noqa: PLC0415

        return convert.pack_described(plan, draw.mermaid(plan.graph))
