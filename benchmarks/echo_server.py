"""
The floor for every RPC: a bare grpc.aio server that gives back a reply it was handed at start.

Reads the reply (a serialised `RouteResponse`, in hexadecimal) from standard input, prints its port, and serves until its input
ends.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import grpc.aio

from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2


class Echo:
    """
    Answer every `Route` with the same reply.
    """

    def __init__(self, reply: routing_pb2.RouteResponse) -> None:
        self._reply = reply

    async def route(self, request: routing_pb2.RouteRequest, context: object) -> routing_pb2.RouteResponse:  # noqa: ARG002
        return self._reply

    def service(self) -> grpc.GenericRpcHandler:
        """
        Return what a server is given: one method, its messages parsed and serialised as in any service.
        """
        method = grpc.unary_unary_rpc_method_handler(
            self.route, routing_pb2.RouteRequest.FromString, routing_pb2.RouteResponse.SerializeToString
        )
        name = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].full_name

        return grpc.method_handlers_generic_handler(name, {"Route": method})


async def main() -> None:
    """
    Serve until standard input ends.
    """
    server = grpc.aio.server()
    reply = routing_pb2.RouteResponse.FromString(bytes.fromhex(sys.stdin.readline()))
    server.add_generic_rpc_handlers((Echo(reply).service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
