"""
A collector that takes spans over OTLP and gRPC and counts them.

Prints its port, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import sys

import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


class Receiver(TraceServiceServicer):
    """
    Take spans, as a collector does.
    """

    async def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:  # noqa: ARG002, N802
        return ExportTraceServiceResponse()


async def main() -> None:
    """
    Serve until standard input ends.
    """
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", -1),))
    add_TraceServiceServicer_to_server(Receiver(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
