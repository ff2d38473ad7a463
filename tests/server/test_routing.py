"""
RoutingService: one request, one walk, one reply, through a real server and a real client.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import anyio
import grpc.aio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.mesh import Mesh
from meshwalk.model import Limits, Sampling
from meshwalk.model.problems import (
    BudgetExceeded,
    DeadlineExceeded,
    DeadlineExpired,
    HopFailed,
    HopLimitExceeded,
    InputTooLarge,
    Overloaded,
    RequestError,
    Unreachable,
)
from meshwalk.server import serve
from meshwalk.testing import RecordList, ScriptedBackend
from meshwalk.trace import Message, Outcome, Reply, ReplyOptions, ResponseFormat, Tool, ToolCall, Usage
from meshwalk.wire.client import AnswerDelta, Client, HopFinished, HopStarted, RouteResult
from meshwalk.wire.errors import Internal, NotFound, RpcError
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2, routing_pb2_grpc
from tests.support.backends import Gate, raising, saying
from tests.support.plans import plan_of
from tests.support.records import words_of
from tests.support.service import ALONE, DESK, desk, stub_of


pytestmark = pytest.mark.anyio

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def fields(error: RequestError) -> list[str]:
    return [violation.field for violation in error.violations]


class TestRoute:
    async def test_answers_with_path_and_cost(self) -> None:
        """
        The reply holds the answer, whose it is, the path, the tokens, the cost and the plan.
        """
        async with desk() as (client, _):
            done = await client.route("Say hello.", session="s-17")

        assert ("small talk", "small", "stop") == (done.answer, done.node, done.finish_reason)
        assert (Outcome.ANSWERED, ("intake", "small")) == (done.outcome, done.path)
        assert (Usage(10, 5), 20_000, "reported") == (done.usage, done.cost_nano_usd, done.basis)
        assert ("desk", "7", DESK.plan_digest) == (done.plan.graph, done.plan.version, done.plan.plan_digest)
        assert 0 <= done.engine_us <= done.latency_us

    async def test_decides_as_in_process(self) -> None:
        """
        The same request takes the same path, at the same cost, in process and over the wire.
        """
        backends = {"little": saying("hm", confidence=0.2), "big": saying("yes")}
        async with Mesh(DESK, backends=backends) as mesh:
            here = await mesh.route("Say hello.", weight=0.5)
        async with desk(backends) as (client, _):
            there = await client.route("Say hello.", weight=0.5)

        assert (here.path, here.answer, here.cost_usd) == (there.path, there.answer, there.cost_usd)
        assert ("intake", "small", "large") == there.path

    async def test_tools_go_with_the_callers_own_messages(self) -> None:
        """
        A form reaches the node that is sent the caller's words, and no node with words of its own; what is wished comes back.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: tools
            start: filter
            backends: {little: {kind: simulated}, big: {kind: simulated}}
            nodes:
              filter:
                role: prescreen
                backend: little
                prompt: "Is this about Rome?  {{ prompt }}"
                qualified: {matches: "yes"}
                next: large
              large: {role: primary, backend: big, next: done}
            """
        )
        calls = (ToolCall("c1", "look", '{"at": "Rome"}'),)

        async def wishing(_: ChatRequest) -> Reply:
            return Reply("", finish_reason="tool_calls", usage=Usage(10, 5), tool_calls=calls)

        tools, json = (Tool("look", "See.", '{"type": "object"}'),), ResponseFormat("json_object")
        form = ReplyOptions(tools, "look", json)
        little, big = saying("yes"), ScriptedBackend(wishing)
        async with (
            Mesh(plan, backends={"little": little, "big": big}) as mesh,
            serve([mesh]) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            done = await client.route("Rome?", tools=tools, tool_choice="look", response_format=json)
            events = [event async for event in client.stream("Rome?", tools=tools, tool_choice="look", response_format=json)]
            with pytest.raises(RequestError) as caught:
                await client.route("Rome?", tools=tools, tool_choice="wait", response_format=json)
        last = events[-1]
        assert isinstance(last, RouteResult)

        assert [ReplyOptions(), ReplyOptions()] == [asked.form for asked in little.requests]
        assert [form, form] == [asked.form for asked in big.requests]
        assert ("", "tool_calls", calls) == (done.answer, done.finish_reason, done.tool_calls)
        assert calls == last.tool_calls
        assert ["tool_choice"] == fields(caught.value)

    async def test_a_refusal_is_a_reply(self) -> None:
        """
        A refusal that the graph decided is OK, with its node and its reason.
        """
        async with desk() as (client, _):
            done = await client.route("Prove it.", task="proof")

        assert (Outcome.REFUSED, "sorry", "we do not prove") == (done.outcome, done.node, done.reason)
        assert ("", "", 0, "none") == (done.answer, done.finish_reason, done.cost_nano_usd, done.basis)

    async def test_a_whole_chat_reaches_the_model(self) -> None:
        """
        Every message, its role and its name, and the sampling parameters reach the backend.
        """
        little = saying("ok")
        chat = [
            Message("system", "Be brief."),
            Message("user", "Hi", "ada"),
            Message("assistant", "Yes?"),
            Message("user", "Go"),
        ]
        async with desk({"little": little}) as (client, _):
            await client.route(chat, sampling=Sampling(max_tokens=7, temperature=0.0))

        assert tuple(chat) == little.requests[0].messages
        assert Sampling(max_tokens=7, temperature=0.0) == little.requests[0].sampling

    async def test_a_simulated_answer_says_so(self) -> None:
        """
        An answer that no model made is marked.
        """
        async with Mesh(DESK) as mesh, serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
            simulated = await client.route("Say hello.", correctness="strict")
        async with desk() as (client, _):
            told = await client.route("Say hello.")

        assert (True, False) == (simulated.simulated, told.simulated)

    async def test_the_caller_s_trace_goes_on(self) -> None:
        """
        A traceparent is continued, and what the backend gets belongs to the same trace.
        """
        little, listing = saying("ok"), RecordList()
        async with desk({"little": little}, sinks=[listing]) as (client, _):
            done = await client.route("Say hello.", traceparent=TRACEPARENT)

        assert TRACE_ID == done.trace_id
        assert "b7ad6b7169203331" == listing.traversals[0].parent_span_id
        assert little.requests[0].traceparent.startswith(f"00-{TRACE_ID}-")


class TestDetail:
    async def test_none_carries_no_record(self) -> None:
        """
        Nobody pays for a record that was not asked for.
        """
        async with desk() as (client, _):
            done = await client.route("Say hello.")

        assert done.record is None
        assert () == done.hops

    async def test_hops_carry_times_costs_and_decisions(self) -> None:
        """
        With HOPS each hop says what it took, what it cost, what it wrote and why the walk went on as it did.
        """
        async with desk({"little": saying("hm", confidence=0.2)}) as (client, _):
            done = await client.route("Say hello.", detail="HOPS")
        small = done.hops[1]

        assert ["intake", "small", "large"] == [hop.node for hop in done.hops]
        assert ("answer", "ok", 1, "large") == (small.role, small.status, small.visit, small.edge)
        assert (Usage(10, 5), 20_000, "reported") == (small.usage, small.cost_nano_usd, small.basis)
        assert 0.2 == small.outputs["confidence"]
        assert [
            ("done", "output.confidence >= thresholds.sure", "not_held"),
            ("large", "otherwise", "held"),
        ] == [(edge.to, edge.guard, edge.verdict) for edge in small.considered]
        assert () == small.attempts

    async def test_full_carries_everything(self) -> None:
        """
        With FULL the record also has attempts, budget views, what was asked, and under which limits.
        """
        async with desk() as (client, _):
            done = await client.route("Say hello.", session="s-17", weight=0.5, limits=Limits(hops=4), detail="FULL")
        record = done.record
        assert record is not None
        assert record.facts is not None
        assert record.limits is not None

        assert [("ok", "little", "scripted")] == [(call.status, call.backend, call.model) for call in done.hops[1].attempts]
        assert ["request"] == [view.scope for view in done.hops[1].views]
        assert {"task": "prose", "weight": 0.5, "polite": True}.items() <= dict(record.facts.attributes).items()
        assert ("s-17", 4, 500_000_000) == (record.facts.scopes.session, record.limits.hops, record.limits.cost_nano_usd)
        assert record.content is None

    async def test_an_unknown_detail_is_refused(self) -> None:
        """
        A number that this server does not know is no detail.
        """
        request = routing_pb2.RouteRequest(detail=9)  # type: ignore[arg-type]
        async with desk() as (client, _), stub_of(client, routing_pb2_grpc.RoutingServiceStub) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match="detail: is 9"):
                await stub.Route(request)


class TestBadRequests:
    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"prompt": ""}, "messages[0].content"),
            ({"prompt": []}, "messages"),
            ({"prompt": [Message("robot", "hi")]}, "messages[0].role"),
            ({"colour": "red"}, "attributes.colour"),
            ({"task": "poem"}, "attributes.task"),
            ({"weight": "heavy"}, "attributes.weight"),
            ({"weight": 2.0}, "attributes.weight"),
            ({"polite": 1.0}, "attributes.polite"),
            ({"sampling": Sampling(seed=1)}, "sampling.seed"),
            ({"sampling": Sampling(temperature=float("nan"))}, "sampling.temperature"),
            ({"limits": Limits(hops=0)}, "limits.hops"),
            ({"session": "s" * 1000}, "scopes.session"),
        ],
    )
    async def test_the_field_is_named(self, asked: dict[str, object], field: str) -> None:
        """
        A request that cannot begin a walk is INVALID_ARGUMENT with its field.
        """
        async with desk() as (client, _):
            with pytest.raises(RequestError) as caught:
                await client.route(**{"prompt": "hi", **asked})  # type: ignore[arg-type]

        assert RequestError is caught.type
        assert [field] == fields(caught.value)

    async def test_all_at_once(self) -> None:
        """
        Every field that is wrong is named in one go.
        """
        async with desk() as (client, _):
            with pytest.raises(RequestError) as caught:
                await client.route("", colour="red", weight=7.0)

        assert {"messages[0].content", "attributes.colour", "attributes.weight"} == set(fields(caught.value))

    async def test_too_long(self) -> None:
        """
        Messages past `limits.input_bytes` are RESOURCE_EXHAUSTED, with the field named.
        """
        async with desk() as (client, _):
            with pytest.raises(InputTooLarge) as caught:
                await client.route("x" * 2001)

        assert ["messages"] == fields(caught.value)

    async def test_a_spent_deadline(self) -> None:
        """
        A `limits.deadline_us` of nothing is DEADLINE_EXCEEDED, with the field named.
        """
        async with desk() as (client, _):
            with pytest.raises(DeadlineExpired) as caught:
                await client.route("hi", limits=Limits(deadline_us=0))

        assert ["limits.deadline_us"] == fields(caught.value)

    async def test_an_unknown_graph(self) -> None:
        """
        A graph that is not served is NOT_FOUND, and those that are are named.
        """
        async with desk() as (client, _):
            with pytest.raises(NotFound, match=r"graph: 'dusk' is not served here; did you mean 'desk'.*serves: desk"):
                await client.route("hi", graph="dusk")

    async def test_which_graph(self) -> None:
        """
        Where several graphs are served, one must be named, and it is the one that answers.
        """
        backends = {"little": saying("small talk"), "big": saying("large words")}
        async with (
            Mesh(DESK, backends=backends) as first,
            Mesh(ALONE, backends={"one": saying("one word")}) as second,
            serve([first, second]) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            with pytest.raises(RequestError, match=r"graph: must be said.*desk, alone"):
                await client.route("hi")
            done = await client.route("hi", graph="alone")

        assert ("alone", "one word") == (done.plan.graph, done.answer)


class TestFailedWalks:
    async def test_a_backend_s_failure(self) -> None:
        """
        An unhandled error of a backend is UNAVAILABLE, and names the record, the node and the class.
        """
        listing = RecordList()
        async with desk({"little": raising(Unreachable("gone", backend="little"))}, sinks=[listing]) as (client, _):
            with pytest.raises(HopFailed) as caught:
                await client.route("Say hello.")

        assert (listing.traversals[0].traversal_id, "small", "unreachable") == (
            caught.value.traversal_id,
            caught.value.node,
            caught.value.error_class,
        )

    async def test_an_error_edge_is_taken(self) -> None:
        """
        An error that the graph has an edge for does not reach the caller.
        """
        async with desk({"little": raising(Overloaded("busy", backend="little"))}) as (client, _):
            done = await client.route("Say hello.")

        assert (("intake", "small", "large"), "large words") == (done.path, done.answer)

    async def test_a_spent_budget(self) -> None:
        """
        A call that could cost too much is RESOURCE_EXHAUSTED, with the scope.
        """
        async with desk() as (client, _):
            with pytest.raises(BudgetExceeded) as caught:
                await client.route("Say hello.", limits=Limits(cost_nano_usd=1))

        assert ("small", "request") == (caught.value.node, caught.value.scope)

    async def test_spent_hops(self) -> None:
        """
        A walk that may make no further hop is RESOURCE_EXHAUSTED.
        """
        async with desk() as (client, _):
            with pytest.raises(HopLimitExceeded, match=r"raise limits\.hops"):
                await client.route("Say hello.", limits=Limits(hops=1))

    async def test_neither_prompt_nor_exception_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        Whatever a user's code raises, neither the caller's error nor our own log lines hold its text.
        """
        async with desk({"little": raising(ValueError("my secret prompt"))}) as (client, _):
            with pytest.raises(HopFailed) as caught:
                await client.route("my secret prompt")

        assert "secret" not in str(caught.value)
        assert "secret" not in "".join(record.getMessage() for record in caplog.records if "server" in record.name)

    async def test_a_fault_of_ours(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """
        An error that nobody foresaw is INTERNAL with one stable sentence; its type and places are in the log, its text is not.
        """
        prompt = "my secret prompt"
        async with desk() as (client, _):

            async def broken(*_: object) -> None:
                raise KeyError(prompt)

            with monkeypatch.context() as patch:
                patch.setattr(Mesh, "walk", broken)
                with pytest.raises(Internal) as caught:
                    await client.route(prompt)
            after = await client.route("hi")

        assert Internal.stable == str(caught.value)
        assert "Route failed unexpectedly with KeyError at" in caplog.text
        assert "in broken" in caplog.text
        assert prompt not in caplog.text
        assert "small talk" == after.answer


class TestDeadlines:
    async def test_the_call_s_deadline_is_the_walk_s(self) -> None:
        """
        The time that the caller waits bounds the walk, below what the graph would allow.
        """
        listing = RecordList()
        async with desk(sinks=[listing]) as (client, _):
            await client.route("Say hello.", timeout=5)
        deadline_us = listing.traversals[0].began.limits.deadline_us
        assert deadline_us is not None

        assert 0 < deadline_us < 5_000_000

    async def test_the_tighter_one_holds(self) -> None:
        """
        Of the caller's two deadlines the shorter one is the walk's.
        """
        listing = RecordList()
        async with desk(sinks=[listing]) as (client, _):
            await client.route("Say hello.", timeout=3600, limits=Limits(deadline_us=20_000_000))

        assert 20_000_000 == listing.traversals[0].began.limits.deadline_us

    async def test_a_missed_deadline_names_the_record(self) -> None:
        """
        A walk whose time is up before its caller's is DEADLINE_EXCEEDED with the id of the record.
        """
        listing = RecordList()
        async with desk({"little": Gate()}, sinks=[listing]) as (client, _):
            with pytest.raises(DeadlineExceeded) as caught:
                await client.route("Say hello.", limits=Limits(deadline_us=50_000))

        assert (listing.traversals[0].traversal_id, "small") == (caught.value.traversal_id, caught.value.node)

    async def test_nobody_waits_for_ever(self) -> None:
        """
        A caller whose time is up hears so, and the backend is let go.
        """
        gate = Gate()
        async with desk({"little": gate}) as (client, _):
            await client.graphs()
            # On a busy machine the client's own clock may be first, and then the message names the server.
            with pytest.raises(DeadlineExceeded, match=r"^(node 'small'|127\.0\.0\.1:\d+) did not answer "):
                await client.route("Say hello.", timeout=0.5)
            await gate.left.wait()

        assert not gate.open.is_set()


class TestCancelling:
    async def test_a_call(self) -> None:
        """
        Cancelling the call lets go of the backend, and the walk is recorded as cancelled.
        """
        gate, listing = Gate(), RecordList()
        async with desk({"little": gate}, sinks=[listing]) as (client, _), anyio.create_task_group() as tasks:
            tasks.start_soon(client.route, "Say hello.")
            await gate.asked_for.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await gate.left.wait()
                await listing.recorded.wait()

        assert Outcome.CANCELLED is listing.traversals[0].outcome

    async def test_a_stream(self) -> None:
        """
        Leaving a stream early does the same.
        """
        gate, listing = Gate(), RecordList()
        async with desk({"little": gate}, sinks=[listing]) as (client, _):
            async with aclosing(client.stream("Say hello.")) as events:
                async for event in events:
                    if isinstance(event, HopStarted) and event.node == "small":
                        break
            await gate.left.wait()
            await listing.recorded.wait()

        assert Outcome.CANCELLED is listing.traversals[0].outcome


class TestRouteStream:
    async def test_order(self) -> None:
        """
        Each hop starts before it ends and ends before the next starts; the answer follows, then the whole reply.
        """
        async with desk({"little": saying("hm", confidence=0.2), "big": saying("x" * 10_000)}) as (client, _):
            events = [event async for event in client.stream("Say hello.", detail="HOPS")]
        final = events[-1]
        assert isinstance(final, RouteResult)

        told = [
            ("started", event.hop, event.node)
            if isinstance(event, HopStarted)
            else ("finished", event.hop.index, event.hop.node)
            if isinstance(event, HopFinished)
            else ("said", event.hop, "")
            if isinstance(event, AnswerDelta)
            else ("final", 2, "")
            for event in events
        ]
        assert [
            ("started", 0, "intake"),
            ("finished", 0, "intake"),
            ("started", 1, "small"),
            ("finished", 1, "small"),
            ("started", 2, "large"),
            ("finished", 2, "large"),
            ("said", 2, ""),
            ("said", 2, ""),
            ("said", 2, ""),
            ("final", 2, ""),
        ] == told
        assert final.answer == "".join(event.text for event in events if isinstance(event, AnswerDelta))

    async def test_hops_are_told_as_the_record_has_them(self) -> None:
        """
        A hop on the stream says what the final record says of it.
        """
        async with desk({"little": saying("hm", confidence=0.2)}) as (client, _):
            events = [event async for event in client.stream("Say hello.", detail="FULL")]
        final = events[-1]
        assert isinstance(final, RouteResult)
        streamed = [event.hop for event in events if isinstance(event, HopFinished)]

        assert [words_of(hop) for hop in final.hops] == [words_of(hop) for hop in streamed]

    async def test_hops_come_while_the_walk_goes_on(self) -> None:
        """
        A hop that ended is told of before the next one answers.
        """
        gate = Gate()
        async with desk({"little": gate}) as (client, _), aclosing(client.stream("Say hello.")) as events:
            told = [await anext(events) for _ in range(3)]
            assert not gate.open.is_set()
            gate.open.set()
            rest = [event async for event in events]

        assert [HopStarted, HopFinished, HopStarted] == [type(event) for event in told]
        assert isinstance(rest[-1], RouteResult)

    async def test_a_denied_hop(self) -> None:
        """
        A hop that the budget denied starts and ends on the stream, then the error names the record.
        """
        events: list[object] = []
        async with desk() as (client, _):

            async def listen() -> None:
                async for event in client.stream("Say hello.", limits=Limits(cost_nano_usd=1)):
                    events.append(event)  # noqa: PERF401 (a comprehension would lose them with the error)

            with pytest.raises(BudgetExceeded) as caught:
                await listen()
        last = events[-1]
        assert isinstance(last, HopFinished)

        assert ("small", "denied") == (last.hop.node, last.hop.status)
        assert caught.value.traversal_id

    async def test_a_refusal(self) -> None:
        """
        A refusal has no answer to give in pieces.
        """
        async with desk() as (client, _):
            events = [event async for event in client.stream("Prove it.", task="proof")]

        assert [HopStarted, HopFinished, HopStarted, HopFinished, RouteResult] == [type(event) for event in events]

    async def test_a_bad_request(self) -> None:
        """
        What cannot begin a walk fails as with Route.
        """
        async with desk() as (client, _):
            with pytest.raises(RequestError, match=r"attributes\.colour"):
                await anext(aiter(client.stream("hi", colour="red")))


class TestDecide:
    async def test_up_to_the_first_call(self) -> None:
        """
        Nothing is called; the node that would be, its worst case and what its edges wait for are told.
        """
        little = saying("ok")
        async with desk({"little": little}) as (client, _):
            decided = await client.decide("Say hello.")
        assert decided.need is not None

        assert ([], ("intake", "small"), "small") == (little.requests, decided.path, decided.next)
        assert (None, 64) == (decided.outcome, decided.need.output_tokens)
        assert [("intake", "small")] == [(hop.node, hop.edge) for hop in decided.hops]
        assert ["not_held", "not_held", "held"] == [edge.verdict for edge in decided.hops[0].considered]
        assert 0 < decided.hops[0].outputs["tokens"]  # type: ignore[operator]
        assert [("done", ("output.confidence",), None), ("large", (), True)] == [
            (edge.to, edge.needs, edge.verdict) for edge in decided.edges
        ]

    async def test_a_walk_that_needs_no_call(self) -> None:
        """
        A walk that would end without a call says how.
        """
        async with desk() as (client, _):
            decided = await client.decide("Prove it.", task="proof")

        assert (Outcome.REFUSED, "we do not prove") == (decided.outcome, decided.reason)
        assert ("", None, ()) == (decided.next, decided.need, decided.edges)
        assert ["intake", "sorry"] == [hop.node for hop in decided.hops]

    async def test_a_bad_request(self) -> None:
        """
        What cannot begin a walk fails as with Route.
        """
        async with desk() as (client, _):
            with pytest.raises(RequestError, match=r"attributes\.weight"):
                await client.decide("hi", weight=7.0)


class TestMany:
    async def test_calls_do_not_wait_for_each_other(self) -> None:
        """
        While one walk waits for its model, others are answered.
        """
        gate = Gate()

        async def script(request: ChatRequest) -> Reply:
            return await gate.chat(request) if request.prompt == "slow" else Reply(request.prompt, confidence=1.0)

        answers: dict[str, str] = {}
        async with desk({"little": ScriptedBackend(script)}) as (client, _):

            async def ask(prompt: str) -> None:
                answers[prompt] = (await client.route(prompt)).answer

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, "slow")
                await gate.asked_for.wait()
                async with anyio.create_task_group() as others:
                    for number in range(32):
                        others.start_soon(ask, str(number))
                quick = dict(answers)
                gate.open.set()

        assert {str(number): str(number) for number in range(32)} == quick
        assert "slow" in answers


async def test_an_unbounded_call_under_a_cap() -> None:
    """
    A call that nothing bounds is refused under a cost cap, as in process.
    """
    plan = plan_of(
        """
        meshwalk: 1
        name: open
        start: only
        backends:
          one: {kind: simulated}
        nodes:
          only: {role: primary, backend: one, next: done}
        """
    )
    async with desk(plan=plan) as (client, _):
        with pytest.raises(BudgetExceeded, match="cannot be bounded"):
            await client.route("hi", limits=Limits(cost_nano_usd=1_000))


@pytest.mark.parametrize("prompt", [None, 7, ["hi"], [("user", "hi")]])
async def test_no_prompt(prompt: Any) -> None:
    """
    What is neither a text nor messages is refused by name before anything is sent.
    """
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(RequestError, match=r"messages(\[0\])?:? .*(takes a|has no)"):
            await client.route(prompt)


async def test_no_server() -> None:
    """
    Where nothing listens, the error says where, and what to start.
    """
    async with desk() as (_, server):
        port = server.port
    async with Client(f"127.0.0.1:{port}") as client:
        with pytest.raises(RpcError, match=rf"127\.0\.0\.1:{port}.*meshwalk serve") as caught:
            await client.route("hi")

    assert "UNAVAILABLE" == caught.value.code
