"""
`GraphService`: the graphs that are served, and the requests that they take.
"""

from __future__ import annotations

from meshwalk.server.calls import Context, rich_errors
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
        plans = [mesh.plan for mesh in self._served]
        names = [plan.name for plan in plans]
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
        Describe one graph.
        """
        del context
        # Few servers are ever asked for a drawing, so the import waits.
        from meshwalk import draw  # noqa: PLC0415

        plan = self._served.pick(request.graph).mesh.plan

        return convert.pack_described(plan, draw.mermaid(plan.graph))
