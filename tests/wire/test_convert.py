"""
Python values survive the wire: laws over random values, and the fields where the two sides differ.
"""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets import AccountReport, SpendLine, SpendPath
from meshwalk.loader.casebook import Cause
from meshwalk.mesh import Mesh
from meshwalk.model import Amount, Caps, Limits, Sampling, ScopeKind, Value
from meshwalk.model.problems import RequestError
from meshwalk.records.events import DELTA_CHARACTERS, AnswerDelta, Committed, HopFinished, HopStarted
from meshwalk.records.hops import Hop
from meshwalk.trace import (
    Content,
    Facts,
    Message,
    ReplyOptions,
    Request,
    ResponseFormat,
    Scopes,
    Tool,
    ToolCall,
)
from meshwalk.wire import convert
from meshwalk.wire.convert import Prototypes, values
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2, common_pb2, routing_pb2
from meshwalk.wire.types import AccountInfo, AccountPage, Summary
from tests.support.backends import saying
from tests.support.plans import plan_of
from tests.support.random_records import VALUES, WORDS, filled, hops
from tests.support.records import words_of
from tests.support.service import DESK


WHOLE = st.integers(-(2**63), 2**63 - 1)

# On the wire an empty list of stops cannot be told from none.
LIMITS = filled(Limits)
STOPS = st.none() | st.lists(WORDS, min_size=1, max_size=2).map(tuple)
SAMPLING = st.builds(Sampling._replace, filled(Sampling), stop=STOPS)
ATTRIBUTES: st.SearchStrategy[dict[str, Value]] = st.dictionaries(WORDS, VALUES, max_size=3)
CALLS = st.lists(filled(ToolCall), max_size=2).map(tuple)
MESSAGES = st.lists(st.builds(Message, WORDS, WORDS, WORDS, CALLS, WORDS), max_size=3).map(tuple)
FORMATS = st.builds(ResponseFormat, st.sampled_from(["json_object", "json_schema"]), WORDS, WORDS, st.booleans())
FORMS = st.builds(ReplyOptions, st.lists(filled(Tool), max_size=2).map(tuple), WORDS, st.none() | FORMATS)
# Whose budgets a request draws on is the server's to say, so it does not travel with one.
SCOPES = st.builds(Scopes, WORDS, WORDS, st.just(""))


class TestRequests:
    @given(messages=MESSAGES, attributes=ATTRIBUTES, sampling=SAMPLING, scopes=SCOPES, limits=LIMITS, key=WORDS, form=FORMS)
    def test_survive(
        self,
        messages: tuple[Message, ...],
        attributes: dict[str, Value],
        sampling: Sampling,
        scopes: Scopes,
        limits: Limits,
        key: str,
        form: ReplyOptions,
    ) -> None:
        """
        What a client asks is what a mesh is asked, also through bytes.
        """
        request = Request(messages, attributes=attributes, sampling=sampling, scopes=scopes, limits=limits, form=form)
        request.idempotency_key = key
        packed = convert.pack_request(request, "desk", "HOPS")
        back = convert.unpack_request(routing_pb2.RouteRequest.FromString(packed.SerializeToString()))

        assert (messages, attributes, sampling) == (back.messages, back.attributes, back.sampling)
        assert (scopes, limits, key, form) == (back.scopes, back.limits, back.idempotency_key, back.form)
        assert ("desk", routing_pb2.DETAIL_HOPS) == (packed.graph, packed.detail)

    def test_numbers_are_doubles(self) -> None:
        """
        A whole number and a double are one kind of number; a truth value is none.
        """
        packed = convert.pack_request(Request((), attributes={"whole": 3, "real": 3.0, "truth": True}))

        assert ["double_value", "double_value", "bool_value"] == [
            packed.attributes[name].WhichOneof("kind") for name in ("whole", "real", "truth")
        ]

    @pytest.mark.parametrize(
        ("asked", "left", "expected"), [(5, 3, 3), (3, 5, 3), (None, 3, 3), (3, None, 3), (None, None, None)]
    )
    def test_the_tighter_deadline(self, asked: int | None, left: int | None, expected: int | None) -> None:
        """
        Of the deadline asked for and the time the call has left, the shorter one counts.
        """
        packed = convert.pack_request(Request((), limits=Limits(deadline_us=asked)))

        assert expected == convert.unpack_request(packed, left).limits.deadline_us

    def test_attributes_come_by_name(self) -> None:
        """
        The wire keeps no order of attributes, so whoever reads them is given one.
        """
        names = [f"a{number:02}" for number in range(50)]
        message = convert.pack_request(Request((), attributes=dict.fromkeys(reversed(names), 1.0)))

        assert names == list(convert.unpack_request(message).attributes)

    def test_outputs_come_by_name(self) -> None:
        """
        So is whoever reads what a hop gave: it is shown the same each time.
        """
        names = [f"o{number:02}" for number in range(50)]

        assert names == list(values.unpack_values(values.pack_values(dict.fromkeys(reversed(names), 1.0))))

    def test_a_value_without_a_kind(self) -> None:
        """
        The wire can say a value that is none; each such attribute is named.
        """
        packed = routing_pb2.RouteRequest(
            attributes={"a": common_pb2.Value(), "b": common_pb2.Value(bool_value=True), "c": common_pb2.Value()}
        )
        with pytest.raises(RequestError) as caught:
            convert.unpack_request(packed)

        assert ["attributes.a", "attributes.c"] == [violation.field for violation in caught.value.violations]

    def test_a_format_of_a_later_version(self) -> None:
        """
        A kind of format that we do not know is named, and none at all is plain text.
        """
        packed = routing_pb2.RouteRequest()
        packed.response_format.name = "x"
        plain = convert.unpack_request(packed).form
        packed.response_format.kind = 99  # type: ignore[assignment]
        with pytest.raises(RequestError, match=r"response_format\.kind: is 99"):
            convert.unpack_request(packed)

        assert ReplyOptions() == plain

    @pytest.mark.parametrize(
        ("misfit", "said"),
        [
            (Request((), limits=Limits(hops=2**63)), "limits.hops: is a number too large"),
            (Request((), limits=Limits(deadline_us=10**30)), "limits.deadline_us: is a number too large"),
            (Request((Message("user", "a"), Message("user", "\ud800"))), "messages[1]: holds characters that are not Unicode"),
            (Request((), attributes={"a": 10**400}), "attributes.a: is a number too large"),
            (Request((), attributes={"a": [1]}), "attributes.a: is of a type"),  # type: ignore[dict-item]
            (Request((), attributes={"\ud800": 1.0}), "holds characters that are not Unicode"),
            (Request((), sampling=Sampling(seed=2**63)), "sampling.seed: is a number too large"),
            (Request((), scopes=Scopes("\ud800")), "scopes.session: holds characters"),
            (Request((), idempotency_key="\ud800"), "idempotency_key: holds characters"),
            (Request((), form=ReplyOptions((Tool("a"), Tool("\ud800")))), "tools[1]: holds characters"),
            (Request((), form=ReplyOptions(tool_choice="\ud800")), "tool_choice: holds characters"),
            (Request((), form=ReplyOptions(response_format=ResponseFormat("json_object", "\ud800"))), "response_format: holds"),
            (Request((), form=ReplyOptions(({"name": "a"},))), "tools[0]: is of a type"),  # type: ignore[arg-type]
        ],
    )
    def test_what_does_not_fit(self, misfit: Request, said: str) -> None:
        """
        A value that the wire cannot hold is a fault of the request, not of protobuf, and is named.
        """
        with pytest.raises(RequestError) as caught:
            convert.pack_request(misfit)

        assert 1 == len(caught.value.violations)
        assert said in str(caught.value)

    def test_every_misfit_is_named(self) -> None:
        """
        Of several values that do not fit, none is kept back.
        """
        with pytest.raises(RequestError) as caught:
            convert.pack_request(Request((), limits=Limits(hops=2**63, cost_nano_usd=2**64)), "\ud800", "ALL")  # type: ignore[arg-type]

        assert ["detail", "graph", "limits.hops", "limits.cost_nano_usd"] == [v.field for v in caught.value.violations]


class TestReplies:
    @pytest.mark.anyio
    async def test_tool_calls_survive(self) -> None:
        """
        What a model wishes to call comes back with its answer.
        """
        async with Mesh(DESK, backends={"little": saying("", confidence=0.9), "big": saying("yes")}) as mesh:
            walked = await mesh.route("hi")
        calls = (ToolCall("c1", "look", '{"at": "Rome"}'), ToolCall("c2", "wait", ""))
        packed = convert.pack_reply(walked.traversal, "", "tool_calls", Prototypes(DESK), tool_calls=calls)
        back = convert.unpack_reply(routing_pb2.RouteResponse.FromString(packed.SerializeToString()))

        assert ("", "tool_calls", calls) == (back.answer, back.finish_reason, back.tool_calls)


class TestRecords:
    @pytest.mark.anyio
    async def test_content_where_the_graph_records_it(self) -> None:
        """
        With FULL, and only then, a record carries what was said.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: open
            start: only
            record: {content: true}
            backends:
              one: {kind: simulated}
            nodes:
              only: {role: primary, backend: one, next: done}
            """
        )
        async with Mesh(plan, backends={"one": saying("one word")}) as mesh:
            walked = await mesh.route("hi")
        full, brief = (
            convert.unpack_record(convert.pack_record(walked.traversal, Prototypes(plan), full=full)) for full in (True, False)
        )

        assert Content((Message("user", "hi"),), "one word") == full.content
        assert (None, None, None) == (brief.content, brief.facts, brief.limits)

    @pytest.mark.anyio
    async def test_is_the_traversal(self) -> None:
        """
        A record says what its traversal says, and its facts are whole.
        """
        async with Mesh(DESK, backends={"little": saying("hm", confidence=0.1), "big": saying("yes")}) as mesh:
            traversal = (await mesh.route("hi", session="s-17", weight=0.25)).traversal
        record = convert.unpack_record(convert.pack_record(traversal, Prototypes(DESK), full=True))
        same = ("traversal_id", "trace_id", "span_id", "parent_span_id", "began_unix_us", "outcome", "usage", "basis")
        facts, began = record.facts, traversal.began
        assert facts is not None

        for name in (*same, "cost_nano_usd", "latency_us", "engine_us", "budget_wait_us", "slack_nano_usd"):
            assert getattr(traversal, name) == getattr(record, name), name
        assert (tuple(traversal.path), traversal.finish.answer_hop) == (record.path, record.answer_hop)
        assert began.facts == Facts(**{**facts._asdict(), "attributes": began.facts.attributes})
        assert dict(began.facts.attributes) == dict(facts.attributes)
        assert began.limits == record.limits

    @given(filled(Summary), st.sampled_from(["", "contended", *get_args(Cause)]))
    def test_summaries_survive(self, summary: Summary, cause: str) -> None:
        """
        What a list says of a record comes back.
        """
        fitting = summary._replace(
            began_unix_us=summary.began_unix_us % 10**17, scopes=summary.scopes._replace(tenant=""), cause=cause
        )

        assert fitting == convert.unpack_summary(convert.pack_summary(fitting))


STATEMENTS = st.builds(
    AccountReport,
    tenant=st.just("acme"),
    kind=st.sampled_from(get_args(ScopeKind)),
    name=WORDS,
    caps=filled(Caps),
    spent=filled(Amount),
    reserved=filled(Amount),
    overrun=filled(Amount),
    assumed=filled(Amount),
    reservations=WHOLE,
    window_us=st.none(),
    window_ends_unix_us=st.none(),
    lines=st.lists(
        st.builds(
            SpendLine, st.builds(SpendPath, WORDS, st.sampled_from(["intake", "intake > small", "(others)"])), filled(Amount)
        ),
        max_size=3,
    ).map(tuple),
)


class TestAccounts:
    @given(STATEMENTS, filled(Caps), st.none() | st.tuples(st.integers(1, 10**15), st.integers(1, 10**17)))
    def test_survive(self, statement: AccountReport, graph_caps: Caps, window: tuple[int, int] | None) -> None:
        """
        What an operator sees of an account comes back, through bytes too.
        """
        window_us, ends = window or (None, None)
        statement = statement._replace(window_us=window_us, window_ends_unix_us=ends)
        page = budget_pb2.ListAccountsResponse(tenant="acme", accounts=[convert.pack_account(statement, graph_caps)])
        back = convert.unpack_accounts(budget_pb2.ListAccountsResponse.FromString(page.SerializeToString()))

        assert AccountPage("acme", (AccountInfo(statement, graph_caps),), "") == back

    def test_a_line_names_its_node(self) -> None:
        """
        The node that spent is the last of its path, so that nobody has to take a text apart.
        """
        line = SpendLine(SpendPath("desk", "intake > small"), Amount(calls=1))
        none = Amount()
        account = AccountReport("acme", "session", "s", Caps(), none, none, none, none, 0, None, None, (line,))
        packed = convert.pack_account(account, Caps())

        assert (["intake", "small"], "small") == (list(packed.lines[0].path), packed.lines[0].node)


class TestEvents:
    @given(st.text(max_size=20), st.integers(0, 3))
    def test_pieces_are_the_answer(self, text: str, times: int) -> None:
        """
        The pieces together are the answer, none is empty and none is longer than its bound.
        """
        answer = text * times * 800
        pieces = [piece.answer_delta.text for piece in convert.pack_deltas(2, answer)]

        assert answer == "".join(pieces)
        assert all(0 < len(piece) <= DELTA_CHARACTERS for piece in pieces)

    @given(hops())
    def test_hops_survive(self, hop: Hop) -> None:
        """
        A hop's start, its commit, its end and a piece of an answer come back.
        """
        started = HopStarted(hop.index, hop.node, hop.role, hop.started_us)
        ended = convert.unpack_event(convert.pack_finished(hop, Prototypes(DESK), full=True))
        assert isinstance(ended, HopFinished)

        assert started == convert.unpack_event(convert.pack_started(started))
        assert words_of(hop) == words_of(ended.hop)
        assert Committed(2) == convert.unpack_event(convert.pack_committed(Committed(2)))
        assert AnswerDelta(2, "hm") == convert.unpack_event(convert.pack_delta(AnswerDelta(2, "hm")))
        assert [AnswerDelta(2, "hm")] == [convert.unpack_event(piece) for piece in convert.pack_deltas(2, "hm")]

    def test_an_event_of_a_later_version(self) -> None:
        """
        An event that we do not know is passed over.
        """
        assert convert.unpack_event(routing_pb2.RouteStreamResponse()) is None
