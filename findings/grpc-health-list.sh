#!/usr/bin/env bash
# grpcio-health-checking 1.85.1: the service it registers has the method List, and neither of its servicers implements it.
#
# Seen: grpc.health.v1.Health/List is in the stub, the descriptor and what reflection lists; both servicers answer UNIMPLEMENTED,
# the one for grpc.aio with a text that names a Python exception.  A prober that lists (grpc health clients since List came to the
# protocol) sees a broken server where Check answers SERVING.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'grpcio==1.85.1' 'grpcio-health-checking==1.85.1'
cat > "$folder/look.py" <<'PY'
import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


async def over_aio():
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        status = (await stub.Check(health_pb2.HealthCheckRequest())).status
        try:
            await stub.List(health_pb2.HealthListRequest())
        except grpc.aio.AioRpcError as error:
            return status, error.code(), error.details()
        finally:
            await server.stop(0)


def in_threads():
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
        except grpc.RpcError as error:
            return error.code(), error.details()
        finally:
            server.stop(0)


status, code, details = asyncio.run(over_aio())
print("aio:", status, code, details)
assert status == health_pb2.HealthCheckResponse.SERVING
assert code is grpc.StatusCode.UNIMPLEMENTED and "NotImplementedError" in details
print("threads:", *in_threads())
assert in_threads()[0] is grpc.StatusCode.UNIMPLEMENTED
PY
"$folder/venv/bin/python" "$folder/look.py" 2> "$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
echo "as stated: grpcio 1.85.1, grpcio-health-checking 1.85.1"
