"""
What a server tells of how its backends are called: names, and no addresses.
"""

from __future__ import annotations

from pathlib import Path

from meshwalk.loader import load_graph
from meshwalk.plan import compile_plan
from meshwalk.wire.convert.graphs import pack_described, unpack_described


PLAN = compile_plan(load_graph(Path(__file__).resolve().parents[2] / "graphs" / "good" / "endpoints.yaml"))


def test_endpoints_and_hedges_are_described() -> None:
    """
    A description names a backend's endpoints and a node's hedge, where there are any, and says nowhere where they are.
    """
    message = pack_described(PLAN, "")
    described = unpack_described(message)

    assert [("west-1", "e2", "e3"), (), ()] == [backend.endpoints for backend in described.backends]
    assert [800_000, None, None, None] == [node.hedge_us for node in described.nodes]
    assert b"127.0.0.1" not in message.SerializeToString()
    assert b"EAST" not in message.SerializeToString()
