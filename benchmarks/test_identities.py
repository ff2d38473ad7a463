"""
A server that knows its callers, beside one that asks nobody: the same walks, the same client process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from harness import Arm, Beside, Compare, Goal, Served, at_least, served
from harness.certificates import write_certificate
from meshwalk.server.identity import new_key
from meshwalk.trace import Message, Request, Scopes
from meshwalk.wire.client import Client, TlsOptions
from processes import cpu_seconds
from test_route_many import FRAME, IN_FLIGHT, in_flight


ASKED = Request((Message("user", "Why?"),), scopes=Scopes("s-1", "w-1"))

Guarded = Literal["keys", "keys and TLS"]


@contextmanager
def guarded(folder: Path, how: Guarded) -> Iterator[tuple[Served, Callable[[int], Client]]]:
    """
    Serve with a key, and give what makes a client that has it.
    """
    folder.mkdir()
    made = new_key()
    words = [made.id, made.salt, made.sha256]
    if how == "keys":
        with served("route_server.py", str(folder), "keys", *words) as server:
            yield server, lambda port: Client(f"127.0.0.1:{port}", api_key=made.key)
        return
    write_certificate(folder)
    with served("route_server.py", str(folder), "keys", *words, "tls") as server:
        yield server, lambda port: Client(f"127.0.0.1:{port}", api_key=made.key, tls=TlsOptions(folder / "server.pem"))


@pytest.mark.timeout(300)  # a clock tick of CPU time is long, so rounds are, too
@pytest.mark.parametrize(("how", "goal"), [("keys", at_least(0.95)), ("keys and TLS", None)])
@pytest.mark.parametrize("call", ["Route", "RouteMany"])
def test_known_callers(compare: Compare, tmp_path: Path, call: str, how: Guarded, goal: Goal | None) -> None:
    """
    How many times the requests per server CPU-second of an open server has one that knows its callers, 128 in flight?
    """
    with (
        guarded(tmp_path / "guarded", how) as (known, client_of),
        served("route_server.py", str(tmp_path / "open")) as asking_none,
    ):
        clients = [compare.opened(client_of(known.port)), compare.opened(Client(f"127.0.0.1:{asking_none.port}"))]
        with clients[0] as first, clients[1] as second:
            used = [partial(cpu_seconds, server.pid) for server in (known, asking_none)]
            work = Beside("requests per server CPU-second", goal, used[0], used[1])

            def measure(top: Arm, bottom: Arm) -> None:
                compare(top, bottom, None, counts="throughput", seconds=1, beside=[work])

            if call == "Route":
                measure(in_flight(partial(first.send, ASKED)), in_flight(partial(second.send, ASKED)))
                return
            many = [compare.opened(client.many(largest=FRAME, in_flight=IN_FLIGHT)) for client in (first, second)]
            with many[0] as one, many[1] as other:
                measure(in_flight(partial(one.send, ASKED)), in_flight(partial(other.send, ASKED)))
