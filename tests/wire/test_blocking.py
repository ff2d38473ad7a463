"""
The client for programs without an event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

import meshwalk
from meshwalk import AnswerDelta, BlockingClient, Message, RequestError, RouteResult, RpcError, SetupError, WalkStopped
from tests.cli.conftest import DESK


def portals() -> set[threading.Thread]:
    """
    Return the threads that run a loop for others.
    """
    return {thread for thread in threading.enumerate() if "portal" in thread.name}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    Serve the desk from a thread of its own.
    """
    path = tmp_path_factory.mktemp("blocking") / "desk.yaml"
    path.write_text(DESK, encoding="utf-8")
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(portal.call(meshwalk.load, Path(path))) as mesh,
        portal.wrap_async_context_manager(meshwalk.serve([mesh], listen="127.0.0.1:0")) as server,
    ):
        yield f"127.0.0.1:{server.port}"


class TestCalls:
    def test_each_method_waits(self, target: str) -> None:
        """
        A request, a preview and a description come back as the asynchronous client gives them.
        """
        with BlockingClient(target) as client:
            routed = client.route([Message("system", "Be brief."), Message("user", "Hi.")], session="s-1", draft=False)
            preview = client.decide("Hi.")
            described = client.describe()
            graphs = client.graphs()

        assert ("answered", ("intake", "small")) == (routed.outcome.value, routed.path)
        assert "small" == preview.next
        assert ["desk"] == [graph.plan.graph for graph in graphs] == [described.plan.graph]

    def test_stream_is_an_iterator(self, target: str) -> None:
        """
        Events come one by one, and the last is the result.
        """
        with BlockingClient(target) as client:
            events = list(client.stream("Hi."))

        assert isinstance(events[-1], RouteResult)
        assert events[-1].answer == "".join(event.text for event in events if isinstance(event, AnswerDelta))

    def test_stream_left_early(self, target: str) -> None:
        """
        A stream that is closed leaves the client usable.
        """
        with BlockingClient(target) as client:
            with closing(client.stream("Hi.")) as events:
                next(events)

            assert client.route("Hi.").answer

    def test_threads_share_a_client(self, target: str) -> None:
        """
        Calls of several threads are under way at once.
        """
        together = threading.Barrier(4, timeout=30)

        def ask(number: int) -> str:
            together.wait()
            return client.route(f"Hi {number}.").outcome.value

        with BlockingClient(target) as client, ThreadPoolExecutor(4) as pool:
            assert ["answered"] * 4 == list(pool.map(ask, range(4)))


class TestErrors:
    def test_errors_are_the_asynchronous_ones(self, target: str) -> None:
        """
        A wrong request, a walk that failed, streamed or not, and a server that is away raise what `Client` raises.
        """
        with BlockingClient(target) as client:
            with pytest.raises(RequestError, match=r"attributes\.task"):
                client.route("Hi.", task="rhyme")
            with pytest.raises(WalkStopped, match="large"):
                client.route("Hi.", correctness="strict")
            with pytest.raises(WalkStopped, match="large"):
                list(client.stream("Hi.", correctness="strict"))
        with BlockingClient("127.0.0.1:1") as client, pytest.raises(RpcError, match=r"no answer from 127\.0\.0\.1:1"):
            client.graphs(timeout=20)

    def test_address_that_is_none(self) -> None:
        """
        An address is checked before anything is opened.
        """
        with pytest.raises(SetupError, match="is no address"):
            BlockingClient("nowhere")


class TestOpening:
    def test_closed_client_says_how_to_open_it(self, target: str) -> None:
        """
        Before `with` and after it each call fails with the remedy.
        """
        client = BlockingClient(target)
        with pytest.raises(SetupError, match="is not open; use it inside `with`"):
            client.route("Hi.")
        with client:
            client.graphs()
        with pytest.raises(SetupError, match="is not open; use it inside `with`"):
            next(client.stream("Hi."))

    def test_open_twice(self, target: str) -> None:
        """
        A client that is open cannot be opened again, and can after it was closed.
        """
        client = BlockingClient(target)
        with client:
            with pytest.raises(SetupError, match="is open already"):
                client.__enter__()
            client.graphs()
        with client:
            assert 1 == len(client.graphs())

    def test_no_thread_is_left(self, target: str) -> None:
        """
        Closing ends the thread of the loop.
        """
        before = portals()
        with BlockingClient(target) as client:
            client.graphs()

            assert 1 == len(portals() - before)

        assert before == portals()
