"""
The gate: every fault of a request is named by its field, and what passes has its defaults and limits.
"""

from __future__ import annotations

import math

import pytest

from meshwalk.checks.worst_case import OVERHEAD_TOKENS_OF_TOOLS, OVERHEAD_TOKENS_PER_TOOL
from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.problems import DeadlineExpired, InputTooLarge, RequestError
from meshwalk.trace import Facts, Message, ReplyOptions, Request, ResponseFormat, Scopes, Tool, ToolCall
from meshwalk.walk.admission import Admission
from tests.support.plans import plan_of


ADMISSION = Admission(
    plan_of(
        """
        meshwalk: 1
        name: desk
        start: ask
        request:
          task: {type: string, enum: [prose, proof], default: prose}
          weight: {type: number, range: [0, 10]}
          vip: {type: bool, default: false}
        limits: {hops: 4, deadline: 20s, cost_usd: 0.5, input_bytes: 40, output_tokens: 1000}
        sampling: [temperature, max_tokens, seed, stop]
        backends: {little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 1}}}
        nodes:
          ask: {role: answer, backend: little, max_tokens: 9, next: done}
        """
    )
)

BUILT_IN = (("urgency", "interactive"), ("correctness", "standard"))
HELLO = (Message("user", "Hello there"),)


def asking(
    messages: tuple[Message, ...] = HELLO,
    limits: Limits = Limits(),
    sampling: Sampling = Sampling(),
    scopes: Scopes = Scopes(),
    **attributes: Value,
) -> Request:
    return Request(messages, limits=limits, sampling=sampling, scopes=scopes, attributes=attributes)


class TestAdmit:
    def test_defaults_are_filled_in(self) -> None:
        """
        Facts hold every attribute that has a value, built-in ones first, and the size of the messages.
        """
        facts, limits = ADMISSION.admit(asking(weight=3.0))

        assert (
            Facts(
                (("urgency", "interactive"), ("correctness", "standard"), ("task", "prose"), ("vip", False), ("weight", 3.0)),
                11,
                1,
            )
            == facts
        )
        assert Limits(4, 20_000_000, 500_000_000, 40, 1000) == limits

    def test_a_caller_may_tighten(self) -> None:
        """
        Of the graph's limit and the caller's the smaller holds, whichever that is.
        """
        _, limits = ADMISSION.admit(asking(limits=Limits(hops=9, deadline_us=5, cost_nano_usd=7)))

        assert Limits(4, 5, 7, 40, 1000) == limits

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            (asking(()), "messages"),
            (asking((Message("user", "  \n"),)), "messages[0].content"),
            (asking((Message("system", "Be brief."),)), "messages[0].content"),
            (asking((Message("robot", "Hello"), *HELLO)), "messages[0].role"),
            (asking((Message("user", "\ud800"),)), "messages"),
            (asking(tsk="prose"), "attributes.tsk"),
            (asking(task="poem"), "attributes.task"),
            (asking(task=True), "attributes.task"),
            (asking(weight="3"), "attributes.weight"),
            (asking(weight=True), "attributes.weight"),
            (asking(weight=11.0), "attributes.weight"),
            (asking(weight=math.nan), "attributes.weight"),
            (asking(vip=1.0), "attributes.vip"),
            (asking(urgency="now"), "attributes.urgency"),
            (asking(sampling=Sampling(top_p=0.5)), "sampling.top_p"),
            (asking(sampling=Sampling(temperature=2.5)), "sampling.temperature"),
            (asking(sampling=Sampling(temperature=math.inf)), "sampling.temperature"),
            (asking(sampling=Sampling(max_tokens=0)), "sampling.max_tokens"),
            (asking(sampling=Sampling(seed=2**63)), "sampling.seed"),
            (asking(sampling=Sampling(stop=("",))), "sampling.stop"),
            (asking(sampling=Sampling(stop=("\ud800",))), "sampling.stop"),
            (asking(limits=Limits(hops=0)), "limits.hops"),
            (asking(limits=Limits(cost_nano_usd=-1)), "limits.cost_nano_usd"),
            (asking(limits=Limits(hops=2**63)), "limits.hops"),
            (asking(limits=Limits(deadline_us=2**63)), "limits.deadline_us"),
            (asking(scopes=Scopes(session="s" * 257)), "scopes.session"),
            (asking(scopes=Scopes(workflow="\ud800")), "scopes.workflow"),
        ],
    )
    def test_names_the_field(self, request_: Request, field: str) -> None:
        """
        What cannot be taken is refused under the name of its field.
        """
        with pytest.raises(RequestError) as caught:
            ADMISSION.admit(request_)

        assert [field] == [violation.field for violation in caught.value.violations]
        assert "INVALID_ARGUMENT" == caught.value.hint

    def test_names_all_fields_at_once(self) -> None:
        """
        Several faults are told in one answer.
        """
        with pytest.raises(RequestError) as caught:
            ADMISSION.admit(asking((Message("user", ""),), Limits(hops=0), tsk="prose"))

        assert ["messages[0].content", "attributes.tsk", "limits.hops"] == [fault.field for fault in caught.value.violations]

    def test_counts_bytes_not_characters(self) -> None:
        """
        The input limit is one of UTF-8 bytes, and names the messages.
        """
        ADMISSION.admit(asking((Message("user", "é" * 20),)))

        with pytest.raises(InputTooLarge, match=r"messages: are 42 bytes .* limits\.input_bytes is 40"):
            ADMISSION.admit(asking((Message("user", "é" * 21),)))

    @pytest.mark.parametrize("deadline_us", [0, -5])
    def test_a_spent_deadline_is_refused(self, deadline_us: int) -> None:
        """
        A request without time left does not begin a walk.
        """
        with pytest.raises(DeadlineExpired) as caught:
            ADMISSION.admit(asking(limits=Limits(deadline_us=deadline_us)))

        assert ["limits.deadline_us"] == [violation.field for violation in caught.value.violations]

    @pytest.mark.parametrize(("urgency", "seconds"), [("realtime", 2), ("interactive", 30), ("batch", 600)])
    def test_urgency_gives_the_deadline_nobody_set(self, urgency: str, seconds: int) -> None:
        """
        Without a deadline of the graph's or the caller's, urgency has one.
        """
        free = Admission(
            plan_of(
                """
                meshwalk: 1
                name: free
                start: ask
                backends: {little: {kind: simulated}}
                nodes:
                  ask: {role: answer, backend: little, next: done}
                """
            )
        )
        _, limits = free.admit(asking(urgency=urgency))

        assert seconds * 1_000_000 == limits.deadline_us


SCHEMA = '{"type": "object"}'
LOOK = Tool("look", "See.", SCHEMA)


def forming(form: ReplyOptions, *messages: Message) -> Request:
    return Request((*HELLO, *messages), form=form)


class TestForm:
    """
    What a request asks of a model beside its words.
    """

    GATE = Admission(
        plan_of(
            """
            meshwalk: 1
            name: free
            start: ask
            limits: {input_bytes: 1500}
            backends: {little: {kind: simulated}}
            nodes:
              ask: {role: answer, backend: little, next: done}
            """
        )
    )

    @pytest.mark.parametrize(
        ("request_", "fields"),
        [
            (forming(ReplyOptions((Tool(""),))), ["tools[0].name"]),
            (forming(ReplyOptions((Tool(" "), LOOK))), ["tools[0].name"]),
            (forming(ReplyOptions((Tool("auto"),))), ["tools[0].name"]),
            (forming(ReplyOptions((LOOK, Tool("wait"), LOOK))), ["tools[2].name"]),
            (forming(ReplyOptions((Tool("look", "\ud800"),))), ["tools[0].description"]),
            (forming(ReplyOptions((Tool("\ud800"),))), ["tools[0].name"]),
            (forming(ReplyOptions((Tool("look", parameters="{"),))), ["tools[0].parameters"]),
            (forming(ReplyOptions((Tool("look", parameters="[]"),))), ["tools[0].parameters"]),
            (forming(ReplyOptions((Tool("look", parameters='{"a": "\ud800"}'),))), ["tools[0].parameters"]),
            (forming(ReplyOptions(tuple(Tool(f"t{number}") for number in range(129)))), ["tools"]),
            (forming(ReplyOptions(tool_choice="required")), ["tool_choice"]),
            (forming(ReplyOptions((LOOK,), "wait")), ["tool_choice"]),
            (forming(ReplyOptions((LOOK,), "\ud800")), ["tool_choice"]),
            (forming(ReplyOptions(response_format=ResponseFormat("json_schema"))), ["response_format.schema"]),
            (forming(ReplyOptions(response_format=ResponseFormat("json_schema", schema="3"))), ["response_format.schema"]),
            (forming(ReplyOptions(response_format=ResponseFormat("json_object", schema=SCHEMA))), ["response_format.schema"]),
            (forming(ReplyOptions(response_format=ResponseFormat("json_object", "\ud800"))), ["response_format.name"]),
            (
                forming(ReplyOptions(), Message("user", "x", tool_calls=(ToolCall("c", "look", ""),))),
                ["messages[1].tool_calls"],
            ),
            (
                forming(ReplyOptions(), Message("assistant", "", tool_calls=(ToolCall("", "", ""),))),
                ["messages[1].tool_calls[0].id", "messages[1].tool_calls[0].name"],
            ),
            (forming(ReplyOptions(), Message("tool", "sunny")), ["messages[1].tool_call_id"]),
            (forming(ReplyOptions(), Message("user", "sunny", tool_call_id="c")), ["messages[1].tool_call_id"]),
            (forming(ReplyOptions(), Message("tool", "sunny", tool_call_id="\ud800")), ["messages"]),
            (
                forming(ReplyOptions((Tool("", parameters="3"),), "wait")),
                ["tools[0].name", "tools[0].parameters", "tool_choice"],
            ),
        ],
    )
    def test_names_the_field(self, request_: Request, fields: list[str]) -> None:
        """
        Nonsense is refused at the door, each under its name and all at once.
        """
        with pytest.raises(RequestError) as caught:
            self.GATE.admit(request_)

        assert fields == [violation.field for violation in caught.value.violations]

    @pytest.mark.parametrize(
        "form",
        [
            ReplyOptions((LOOK, Tool("wait"))),
            ReplyOptions((LOOK,), "auto"),
            ReplyOptions((LOOK,), "none"),
            ReplyOptions((LOOK,), "required", ResponseFormat("json_object")),
            ReplyOptions((LOOK,), "look", ResponseFormat("json_schema", "x", SCHEMA, strict=True)),
            ReplyOptions(response_format=ResponseFormat("json_schema", schema=SCHEMA)),
        ],
    )
    def test_takes_what_models_take(self, form: ReplyOptions) -> None:
        """
        Tools, each choice among them, and both formats are admitted.
        """
        self.GATE.admit(forming(form))

    def test_a_conversation_with_tools(self) -> None:
        """
        A model that only called a tool said nothing, and a tool may have nothing to say.
        """
        calls = (ToolCall("c1", "look", "not even JSON"),)
        talk = Message("assistant", "", tool_calls=calls), Message("tool", "", tool_call_id="c1")

        assert 3 == self.GATE.admit(forming(ReplyOptions(), *talk))[0].messages

    def test_it_is_counted(self) -> None:
        """
        Every text of it is part of the input, and so is what a template writes round it.
        """
        plain = self.GATE.admit(forming(ReplyOptions()))[0].input_bytes
        tools = self.GATE.admit(forming(ReplyOptions((LOOK,))))[0].input_bytes
        named = self.GATE.admit(forming(ReplyOptions((Tool("look", "Sée.", SCHEMA),))))[0].input_bytes
        with_schema = ReplyOptions(response_format=ResponseFormat("json_schema", "x", SCHEMA))
        schema = self.GATE.admit(forming(with_schema))[0].input_bytes
        calls = Message("assistant", "", tool_calls=(ToolCall("c1", "look", "{}"),)), Message("tool", "é", tool_call_id="c1")
        talk = self.GATE.admit(forming(ReplyOptions(), *calls))[0].input_bytes

        # Two more for each comma and opening bracket.
        written = len(SCHEMA) + 2 * sum(map(SCHEMA.count, ",[{"))
        assert OVERHEAD_TOKENS_OF_TOOLS + OVERHEAD_TOKENS_PER_TOOL + len("lookSee.") + written == tools - plain
        assert 1 == named - tools
        assert OVERHEAD_TOKENS_PER_TOOL + len("x") + written == schema - plain
        assert OVERHEAD_TOKENS_PER_TOOL + len("c1look{}") + 2 + len("c1") + 2 == talk - plain

    def test_it_is_bounded(self) -> None:
        """
        A form that is past `limits.input_bytes` is refused as messages are.
        """
        with pytest.raises(InputTooLarge, match=r"messages: and form are \d+ bytes .* limits\.input_bytes is 1500"):
            self.GATE.admit(forming(ReplyOptions((Tool("look", "x" * 1500),))))
