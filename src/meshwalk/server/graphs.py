"""
`GraphService`: which graphs are served, and what a caller may send to them.
"""

from __future__ import annotations

from meshwalk.server.calls import Context, answers
from meshwalk.server.registry import MeshRegistry
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2, graph_pb2_grpc


class Graphs(graph_pb2_grpc.GraphServiceServicer):
    """
    Describe the graphs that are served.
    """

    def __init__(self, served: MeshRegistry) -> None:
        self._served = served

    @answers
    async def ListGraphs(self, request: graph_pb2.ListGraphsRequest, context: Context) -> graph_pb2.ListGraphsResponse:  # noqa: N802
        """
        List the graphs.
        """
        del request, context

        return graph_pb2.ListGraphsResponse(graphs=[convert.pack_graph_info(mesh.plan) for mesh in self._served])

    @answers
    async def DescribeGraph(  # noqa: N802
        self, request: graph_pb2.DescribeGraphRequest, context: Context
    ) -> graph_pb2.DescribeGraphResponse:
        """
        Describe one graph.
        """
        del context
        # Most servers are never asked for a picture.
        from meshwalk import draw  # noqa: PLC0415

        plan = self._served.pick(request.graph).mesh.plan

        return convert.pack_described(plan, draw.mermaid(plan.graph))
