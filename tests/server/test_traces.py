"""
TraceService: records, read from disk while the server writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc.aio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.mesh import Mesh
from meshwalk.model.problems import HopFailed, RequestError, SetupError, TraceError, Unreachable
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.server import serve
from meshwalk.testing import ScriptedBackend
from meshwalk.trace import Outcome, Reply
from meshwalk.wire.client import Client, NotFound
from meshwalk.wire.gen.meshwalk.v1beta1 import trace_pb2, trace_pb2_grpc
from tests.support.backends import saying
from tests.support.records import words_of
from tests.support.service import ALONE, DESK, desk, stub_of


pytestmark = pytest.mark.anyio


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[tuple[Client, Callable[[], Awaitable[None]]]]:
    """
    Serve the desk with its traces on disk; its small clerk fails where the prompt says so.

    Beside the client comes what waits until all walks so far are on disk.
    """

    async def script(request: ChatRequest) -> Reply:
        if request.prompt == "fail":
            raise Unreachable("gone", backend="little")
        return Reply("small talk", confidence=0.9)

    store = TraceWriter(folder)
    try:
        with TraceReader(folder) as reader:
            async with (
                Mesh(DESK, backends={"little": ScriptedBackend(script), "big": saying("large words")}, sinks=[store]) as mesh,
                serve([mesh], traces=reader) as server,
                Client(f"127.0.0.1:{server.port}") as client,
            ):

                async def settle() -> None:
                    mesh.flush_records()
                    await store.flush()

                yield client, settle
    finally:
        await store.aclose()


async def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    """
    A list that cannot say how a walk ended says which walk that is.
    """
    async with stored(tmp_path) as (client, settle):
        done = await client.route("Say hello.")
        await settle()
        with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection, connection:
            connection.execute("UPDATE traversals SET outcome = 'lost'")
        connection.close()
        with pytest.raises(TraceError, match=f"the row of walk {done.traversal_id} is damaged: its outcome is 'lost'"):
            await client.traversals()


class TestGetTraversal:
    async def test_is_what_the_reply_said(self, tmp_path: Path) -> None:
        """
        The record on disk is the one that came with the reply.
        """
        async with stored(tmp_path) as (client, settle):
            done = await client.route("Say hello.", session="s-17", detail="FULL")
            await settle()
            record = await client.traversal(done.traversal_id)
        assert done.record is not None
        names = [name for name in record.__slots__ if name != "hops"]

        assert [getattr(done.record, name) for name in names] == [getattr(record, name) for name in names]
        assert list(map(words_of, done.hops)) == list(map(words_of, record.hops))

    async def test_a_failed_walk_is_there_too(self, tmp_path: Path) -> None:
        """
        The id in an error finds the record of the walk that failed.
        """
        async with stored(tmp_path) as (client, settle):
            with pytest.raises(HopFailed) as caught:
                await client.route("fail")
            await settle()
            record = await client.traversal(caught.value.traversal_id)

        assert (Outcome.FAILED, "unreachable", "small") == (record.outcome, record.cause, record.node)
        assert "unreachable" == record.hops[-1].error_class

    async def test_unknown(self, tmp_path: Path) -> None:
        """
        A record that is not there is NOT_FOUND, with the field named.
        """
        async with stored(tmp_path) as (client, _):
            with pytest.raises(NotFound, match="traversal_id: there is no record 'nobody'"):
                await client.traversal("nobody")

    async def test_of_a_graph_that_is_no_longer_served(self, tmp_path: Path) -> None:
        """
        A record brings its plan, so that a server of another graph can show it.
        """
        async with stored(tmp_path) as (client, settle):
            done = await client.route("Say hello.")
            await settle()
        with TraceReader(tmp_path) as reader:
            async with (
                Mesh(ALONE) as mesh,
                serve([mesh], traces=reader) as server,
                Client(f"127.0.0.1:{server.port}") as client,
            ):
                record = await client.traversal(done.traversal_id)

        assert ("desk", "7", DESK.plan_digest) == (record.plan.graph, record.plan.version, record.plan.plan_digest)
        assert ["intake", "small"] == [hop.node for hop in record.hops]


class TestListTraversals:
    async def test_newest_first(self, tmp_path: Path) -> None:
        """
        A list says of each record where it went, how it ended and what it cost.
        """
        async with stored(tmp_path) as (client, settle):
            first = await client.route("Say hello.", session="s-17", workflow="w-3")
            second = await client.route("Prove it.", task="proof")
            await settle()
            page = await client.traversals()
        newest, oldest = page.traversals

        assert [second.traversal_id, first.traversal_id] == [newest.traversal_id, oldest.traversal_id]
        assert (Outcome.REFUSED, "", ("intake", "sorry")) == (newest.outcome, newest.answer_node, newest.path)
        assert ("s-17", "w-3", "small") == (oldest.scopes.session, oldest.scopes.workflow, oldest.answer_node)
        assert (first.cost_usd, first.plan, first.trace_id) == (oldest.cost_usd, oldest.plan, oldest.trace_id)
        assert "" == page.next

    async def test_pages(self, tmp_path: Path) -> None:
        """
        Pages follow each other without a gap or a double, and the last one says so.
        """
        async with stored(tmp_path) as (client, settle):
            made = [(await client.route("Say hello.")).traversal_id for _ in range(5)]
            await settle()
            seen: list[list[str]] = []
            token = ""
            while not seen or token:
                page = await client.traversals(size=2, page=token)
                seen.append([summary.traversal_id for summary in page.traversals])
                token = page.next

        assert [2, 2, 1] == [len(ids) for ids in seen]
        assert made[::-1] == [identity for ids in seen for identity in ids]

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({"graph": "desk"}, 3),
            ({"graph": "dusk"}, 0),
            ({"session": "s-17"}, 1),
            ({"workflow": "w-3"}, 1),
            ({"outcome": Outcome.REFUSED}, 1),
            ({"outcome": Outcome.FAILED}, 1),
            ({"outcome": Outcome.CANCELLED}, 0),
            ({"outcome": Outcome.ANSWERED, "session": "s-17"}, 1),
        ],
    )
    async def test_filters(self, tmp_path: Path, asked: dict[str, str], expected: int) -> None:
        """
        Only what fits every filter is listed.
        """
        async with stored(tmp_path) as (client, settle):
            await client.route("Say hello.", session="s-17", workflow="w-3")
            await client.route("Prove it.", task="proof")
            with pytest.raises(HopFailed, match=r"^node 'small': gone$"):
                await client.route("fail")
            await settle()
            page = await client.traversals(**asked)  # type: ignore[arg-type]

        assert expected == len(page.traversals)

    @pytest.mark.parametrize(
        ("asked", "field"),
        [({"size": -1}, "size"), ({"size": 1001}, "page_size"), ({"page": "elsewhere"}, "page_token")],
    )
    async def test_bad_pages(self, tmp_path: Path, asked: dict[str, object], field: str) -> None:
        """
        A page that cannot be is INVALID_ARGUMENT, with the field named.
        """
        async with stored(tmp_path) as (client, _):
            with pytest.raises(RequestError) as caught:
                await client.traversals(**asked)  # type: ignore[arg-type]

        assert [field] == [violation.field for violation in caught.value.violations]

    async def test_an_unknown_outcome(self, tmp_path: Path) -> None:
        """
        A number that this server does not know is no outcome.
        """
        request = trace_pb2.ListTraversalsRequest(outcome=17)  # type: ignore[arg-type]
        async with stored(tmp_path) as (client, _), stub_of(client, trace_pb2_grpc.TraceServiceStub) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match="outcome: is 17"):
                await stub.ListTraversals(request)


async def test_without_a_store() -> None:
    """
    A server that keeps no records says how to make it.
    """
    async with desk() as (client, _):
        with pytest.raises(SetupError, match="--traces DIR"):
            await client.traversal("0" * 32)
        with pytest.raises(SetupError, match="--traces DIR"):
            await client.traversals()
