"""
Answers that stream over gRPC: the same path as `Route`, and clear words when one breaks off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import HopFailed, Unreachable
from meshwalk.server import serve
from meshwalk.testing import RecordList
from meshwalk.wire.client import AnswerDelta, Client, Committed, Event, HopFinished, HopStarted, RouteResult
from tests.support.plans import plan_of
from tests.support.streaming import Step, Streamer, pieces, whole


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: streaming
    start: small
    backends:
      little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
      great: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 10, output: 20}}
    nodes:
      small:
        role: answer
        backend: little
        stream: {hold_first: 2}
        confidence: {from: mean_token_probability, missing: 0}
        next: [{to: done, when: output.confidence > 0.5}, {to: large}]
      large: {role: primary, backend: great, stream: live, next: done}
    """
)


@asynccontextmanager
async def served(
    little: Sequence[Sequence[Step]], great: Sequence[Sequence[Step]] = ()
) -> AsyncIterator[tuple[Client, RecordList]]:
    kept = RecordList()
    mesh = Mesh(PLAN, backends={"little": Streamer(*little), "great": Streamer(*great)}, sinks=[kept])
    async with mesh, serve([mesh], listen="127.0.0.1:0") as server, Client(f"127.0.0.1:{server.port}") as client:
        yield client, kept


SURE = [*pieces(0.9, "The ", "capital ", "is ", "Paris."), whole("The capital is Paris.")]
DOUBTFUL = [*pieces(0.2, "It ", "may "), None]
LIVE = [*pieces(0.9, "Paris", "."), whole("Paris.")]
BROKEN = [*pieces(0.9, "The ", "capital ", "is "), Unreachable("it broke", backend="little", billable=True)]


async def listen(client: Client, events: list[Event]) -> None:
    # One by one, for it ends in an error.
    async for event in client.stream("Where?"):
        events.append(event)  # noqa: PERF401


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


class TestRouteStream:
    async def test_pieces_follow_the_commitment(self) -> None:
        """
        A hop starts, is committed to, gives its pieces, and ends; the reply has the whole.
        """
        async with served([SURE]) as (client, _):
            events = [event async for event in client.stream("Where?", detail="FULL")]
        final = events[-1]

        assert ["HopStarted", "Committed", "AnswerDelta", "AnswerDelta", "AnswerDelta", "HopFinished", "RouteResult"] == kinds(
            events
        )
        assert ["The capital ", "is ", "Paris."] == [event.text for event in events if isinstance(event, AnswerDelta)]
        assert isinstance(final, RouteResult)
        assert "The capital is Paris." == final.answer
        assert final.hops[0].prefix_verdict is not None
        assert (2, True) == (final.hops[0].prefix_verdict.tokens, final.hops[0].prefix_verdict.committed)

    async def test_the_first_piece_does_not_wait_for_the_last(self) -> None:
        """
        A piece is on its way while the model still writes.
        """
        gate = anyio.Event()
        script: list[Step] = [*pieces(0.9, "a ", "b "), gate, *pieces(0.9, "c"), whole("a b c")]
        async with served([script]) as (client, _):
            texts: list[str] = []
            async for event in client.stream("Where?"):
                if isinstance(event, AnswerDelta):
                    texts.append(event.text)
                    gate.set()

        assert ["a b ", "c"] == texts

    async def test_a_stopped_hop_says_so(self) -> None:
        """
        A hop whose beginning was doubtful ends as stopped, and nothing of it is told.
        """
        async with served([DOUBTFUL], [LIVE]) as (client, _):
            events = [event async for event in client.stream("Where?", detail="HOPS")]
        first = next(event for event in events if isinstance(event, HopFinished))

        assert ("stopped", "large") == (first.hop.status, first.hop.edge)
        assert [1, 1] == [event.hop for event in events if isinstance(event, AnswerDelta)]
        assert [0, 1] == [event.hop for event in events if isinstance(event, HopStarted)]
        assert [Committed(1)] == [event for event in events if isinstance(event, Committed)]

    async def test_a_break_is_an_error_with_what_came(self) -> None:
        """
        After the commitment a broken stream is an error that names the record and holds the partial text.
        """
        async with served([BROKEN]) as (client, kept):
            events: list[Event] = []
            with pytest.raises(HopFailed, match="had been passed on") as caught:
                await listen(client, events)

        assert "The capital is " == "".join(event.text for event in events if isinstance(event, AnswerDelta))
        assert ("The capital is ", 0) == (caught.value.partial, caught.value.partial_hop)
        assert kept.traversals[0].traversal_id == caught.value.traversal_id


class TestRoute:
    @pytest.mark.parametrize(("little", "great"), [([SURE], []), ([DOUBTFUL], [LIVE])], ids=["committed", "stopped"])
    async def test_the_path_is_the_same(self, little: Sequence[Sequence[Step]], great: Sequence[Sequence[Step]]) -> None:
        """
        `Route` judges the same beginning, goes the same way, and costs the same.
        """
        found = []
        for how in ("route", "stream"):
            async with served(little, great) as (client, _):
                if how == "route":
                    found.append(await client.route("Where?", detail="HOPS"))
                else:
                    *_, final = [event async for event in client.stream("Where?", detail="HOPS")]
                    assert isinstance(final, RouteResult)
                    found.append(final)
        one, other = found

        assert (one.path, one.answer, one.cost_nano_usd) == (other.path, other.answer, other.cost_nano_usd)
        assert [hop.status for hop in one.hops] == [hop.status for hop in other.hops]

    async def test_a_break_is_the_same_error(self) -> None:
        """
        A caller that does not stream gets the partial text as well.
        """
        async with served([BROKEN]) as (client, _):
            with pytest.raises(HopFailed, match="had been passed on") as caught:
                await client.route("Where?")

        assert ("The capital is ", 0) == (caught.value.partial, caught.value.partial_hop)


class TestMesh:
    async def test_pieces_in_process(self) -> None:
        """
        `Mesh.route(on_delta=…)` is called with each piece, and with the whole where nothing streams.
        """
        told: list[str] = []
        mesh = Mesh(PLAN, backends={"little": Streamer(SURE, [whole("Short")]), "great": Streamer([whole("Long")])})
        async with mesh:
            await mesh.route("Where?", on_delta=told.append)
            streamed = list(told)
            await mesh.route("Where?", on_delta=told.append)

        assert ["The capital ", "is ", "Paris."] == streamed
        assert ["Long"] == told[3:]
