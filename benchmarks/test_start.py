"""
How soon a command answers: whole processes, timed from outside, one after the other in turns.

The package is run as it is installed, with its bytecode: where this environment writes none, the first run of each arm writes
it to a folder of the test's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from harness import Compare, at_most
from three_hops import FEATURES, TEXT


# The command as pip installs it, beside its Python.
MESHWALK = str(Path(sys.executable).with_name("meshwalk"))

# What `serve` itself imports of the three.
LIBRARIES = """
import grpc, grpc.aio, grpc_health.v1.health, grpc_reflection.v1alpha.reflection, grpc_status.rpc_status
import google.protobuf.message, google.protobuf.descriptor_pool, google.rpc.error_details_pb2
import opentelemetry.sdk.trace, opentelemetry.sdk.trace.export
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """
    Give the environment of a server that exports nowhere, and whose bytecode is kept.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHONDONTWRITE"))}

    return ours | {"PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}


def ended(command: tuple[str, ...], environment: dict[str, str]) -> float:
    """
    Return the nanoseconds that *command* takes from its start to its end.
    """
    start = time.perf_counter_ns()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    return time.perf_counter_ns() - start


def ready(graph: Path, environment: dict[str, str]) -> float:
    """
    Return the nanoseconds that `serve` takes from its start to the line that says it is ready; it is then called once.
    """
    start = time.perf_counter_ns()
    command = [MESHWALK, "serve", str(graph), "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter_ns() - start
        try:
            with grpc.insecure_channel(f"127.0.0.1:{json.loads(line)['port']}") as channel:
                health: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
                # The answer is the status SERVING, field 1 with the value 1.
                assert b"\x08\x01" == health(b"")
        finally:
            process.terminate()

    return took


def test_help(compare: Compare, environment: dict[str, str]) -> None:
    """
    How many times as long as a Python that does nothing does `meshwalk --help` take?
    """
    compare(
        lambda _: ended((MESHWALK, "--help"), environment),
        lambda _: ended((sys.executable, "-c", "pass"), environment),
        at_most(20),
        seconds=0,
    )


def test_serve(compare: Compare, environment: dict[str, str], tmp_path: Path) -> None:
    """
    How many times as long as importing gRPC, protobuf and OpenTelemetry does `meshwalk serve` take until it is ready?
    """
    graph = tmp_path / "three-hops.yaml"
    graph.write_bytes(TEXT.replace(b"USE", FEATURES))
    compare(
        lambda _: ready(graph, environment),
        lambda _: ended((sys.executable, "-c", LIBRARIES), environment),
        at_most(3),
        seconds=0,
    )
