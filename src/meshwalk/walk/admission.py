"""
Admission of requests: which may begin a walk, and under which limits.

All faults of a request are reported at once, each field named as the wire names it.  A request that passes is turned into the
`Facts` that decisions may depend on: defaults filled in, sizes counted, limits tightened.

Without a deadline from anyone, `request.urgency` gives one (2 s, 30 s, 10 min).  The walk is pure and asks nobody, so
every walk begins with a deadline and a hop limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

import orjson

from meshwalk.checks import worst_case
from meshwalk.model import (
    DEFAULT_HOPS,
    DEFAULT_INPUT_BYTES,
    MAX_ELEMENTS,
    MAX_MESSAGES,
    MAX_REQUEST_FIELDS,
    NOT_UNICODE,
    SCOPE_CHARACTERS,
    URGENCY_DEADLINES_US,
    Limits,
    OpenAISpec,
    Sampling,
    Value,
    is_unicode,
    signals,
)
from meshwalk.model.problems import MAX_VIOLATIONS, DeadlineExpired, InputTooLarge, RequestError, Violation
from meshwalk.plan import Plan
from meshwalk.trace import Facts, Image, Message, ReplyOptions, Request, ResponseFormat, Scopes, Tool, make_facts, make_scopes


MESSAGE_ROLES = ("system", "developer", "user", "assistant", "tool")

# The bound of OpenAI; a provider that takes fewer says so itself.
MAX_TOOLS = 128
TOOL_CHOICES = ("auto", "none", "required")

# Records hold whole numbers of 64 bits.
MAX_INT64 = 2**63 - 1


class Admission:
    """
    The admission of requests to *plan*; those that name no tenant are *tenant*'s.
    """

    def __init__(self, plan: Plan, tenant: str = "") -> None:
        self._plan = plan
        self._tenant = tenant
        self._required = frozenset(budget.scope for budget in plan.graph.budgets.values() if budget.required)
        self._attributes = signals.attributes(plan.graph)
        specs = plan.graph.backends.values()
        self._takes_images = any(isinstance(spec, OpenAISpec) and "image" in spec.takes for spec in specs)
        # Most requests bring no limits of their own, and one of three urgencies.
        self._usual = {urgency: self._tightened(_NO_LIMITS, urgency) for urgency in URGENCY_DEADLINES_US}
        self._defaults: dict[str, Value] = {
            name: attribute.default for name, attribute in self._attributes.items() if attribute.default is not None
        }
        self._usual_attributes = tuple(self._defaults.items())
        self._usual_urgency = str(self._defaults["urgency"])
        usual = self._usual[self._usual_urgency]
        self._usually = usual
        # A size counts `_PER_MESSAGE` for the first message too, which is too much, so the limit is raised by as much.
        self._usual_bytes = (usual.input_bytes or 0) + _PER_MESSAGE

    def admit(self, request: Request) -> tuple[Facts, Limits]:
        """
        Return the facts that a walk for *request* may depend on, and its effective limits.

        Raises:
            RequestError: With every field that cannot be taken.
            InputTooLarge: If the messages are past `limits.input_bytes`, or there are too many elements.
            DeadlineExpired: If there is no time left.
        """
        if (size := self._plain_size(request)) is not None:
            session, workflow, tenant = request.scopes
            scopes = make_scopes((session, workflow, tenant or self._tenant))
            return make_facts((self._usual_attributes, size, len(request.messages), _UNSET, scopes, (), (), 0)), self._usually
        self._check_size(request)
        if violations := list(islice(self._in_request(request), MAX_VIOLATIONS)):
            raise RequestError(violations)
        attributes = self._defaults | dict(request.attributes) if request.attributes else self._defaults
        urgency = str(attributes["urgency"])
        limits = self._usual[urgency] if request.limits == _NO_LIMITS else self._tightened(request.limits, urgency)
        size = self._sized(request, limits)

        scopes = request.scopes if request.scopes.tenant else request.scopes._replace(tenant=self._tenant)

        images = sum([message.images for message in request.messages])

        return Facts(tuple(attributes.items()), size, len(request.messages), request.sampling, scopes, images=images), limits

    def _plain_size(self, request: Request) -> int | None:
        """
        Return the size of the messages if *request* is plain and surely in order, as most are; None otherwise.
        """
        if _asked(request) != _NOTHING_ASKED:
            return None
        named = "".join(request.scopes)
        if len(named) > SCOPE_CHARACTERS or not named.isascii():
            return None
        if self._required and not all(getattr(request.scopes, scope) for scope in self._required):
            return None
        messages, size, asks = request.messages, 0, False
        for role, content, name, tool_calls, tool_call_id, carried, parts in messages:
            # ASCII text is Unicode, and has as many bytes as characters.
            if name or tool_calls or tool_call_id or carried or parts or not content.isascii():
                return None
            size += len(content)
            if role != "user":
                if role not in _PLAIN_ROLES:
                    return None
            elif content and not content.isspace():
                asks = True

        return size if asks and size + len(messages) * _PER_MESSAGE <= self._usual_bytes else None

    def _check_size(self, request: Request) -> None:
        """
        Refuse what is too large at first sight, so that no fault of it is looked for.
        """
        if oversize := next(_oversize(request), None):
            raise InputTooLarge([oversize])
        most = self._usually.input_bytes or 0
        # A text has as many bytes as characters, or more.  Up to twice the limit the exact count is taken, which says more.
        characters = sum([_characters(message) for message in request.messages])
        characters += sum([sum(map(len, tool)) for tool in request.form.tools])
        if characters > 2 * most:
            why = f"has {characters} characters in its messages and tools, and limits.input_bytes is {most}; shorten them"
            raise InputTooLarge([Violation("messages", why)])

    def _in_request(self, request: Request) -> Iterator[Violation]:
        yield from self._in_messages(request)
        yield from self._in_attributes(request)
        yield from self._in_sampling(request.sampling)
        yield from _in_limits(request.limits)
        yield from self._in_scopes(request)
        yield from _in_form(request.form)

    def _in_messages(self, request: Request) -> Iterator[Violation]:
        if not request.messages:
            yield Violation("messages", "there is no message; send at least one")
        for position, message in enumerate(request.messages):
            if message.role not in MESSAGE_ROLES:
                known = ", ".join(MESSAGE_ROLES)
                yield Violation(f"messages[{position}].role", f"is {message.role!r}, and a role is one of: {known}")
            if message.parts and not self._takes_images:
                why = f"holds an image, and no backend of graph '{self._plan.name}' takes any; see `takes:` of its backends"
                yield Violation(f"messages[{position}].content", why)
            if message.tool_calls or message.tool_call_id or message.role == "tool":
                yield from _in_tools(message, f"messages[{position}]")
        if request.messages and not any(_asks(message) for message in request.messages):
            last = len(request.messages) - 1
            yield Violation(f"messages[{last}].content", "the prompt is empty; write what the model should answer")

    def _in_attributes(self, request: Request) -> Iterator[Violation]:
        for name, value in request.attributes.items():
            attribute = self._attributes.get(name)
            if attribute is None:
                known = ", ".join(self._attributes)
                yield Violation(f"attributes.{name}", f"graph '{self._plan.name}' declares no such attribute; it has: {known}")
            elif why := signals.accepts(attribute, value):
                yield Violation(f"attributes.{name}", why)

    def _in_sampling(self, sampling: Sampling) -> Iterator[Violation]:
        if sampling == _UNSET:
            return
        allowed = self._plan.graph.allowed_sampling
        for name, value in sampling._asdict().items():
            if value is None:
                continue
            if name not in allowed:
                yield Violation(
                    f"sampling.{name}", f"graph '{self._plan.name}' does not let callers set it; see its `sampling:`"
                )
            elif why := _out_of_range(name, value):
                yield Violation(f"sampling.{name}", why)

    def _in_scopes(self, request: Request) -> Iterator[Violation]:
        for name, value in zip(Scopes._fields, request.scopes, strict=True):
            if len(value) > SCOPE_CHARACTERS:
                yield Violation(f"scopes.{name}", f"is {len(value)} characters long, and the most is {SCOPE_CHARACTERS}")
            elif not is_unicode(value):
                yield Violation(f"scopes.{name}", NOT_UNICODE)
            elif not value and name in self._required:
                why = f"is missing, and graph '{self._plan.name}' requires it (budgets.{name}.required): name the {name}"
                yield Violation(f"scopes.{name}", why)
        if len(request.idempotency_key) > SCOPE_CHARACTERS:
            size = len(request.idempotency_key)
            yield Violation("idempotency_key", f"is {size} characters long, and the most is {SCOPE_CHARACTERS}")
        elif not is_unicode(request.idempotency_key):
            yield Violation("idempotency_key", NOT_UNICODE)

    def _tightened(self, asked: Limits, urgency: str) -> Limits:
        own = self._plan.limits
        tight = Limits._make(_least(mine, theirs) for mine, theirs in zip(own, asked, strict=True))

        return tight._replace(
            hops=DEFAULT_HOPS if tight.hops is None else tight.hops,
            deadline_us=URGENCY_DEADLINES_US[urgency] if tight.deadline_us is None else tight.deadline_us,
            input_bytes=DEFAULT_INPUT_BYTES if tight.input_bytes is None else tight.input_bytes,
        )

    def _sized(self, request: Request, limits: Limits) -> int:
        if limits.deadline_us is not None and limits.deadline_us <= 0:
            raise DeadlineExpired([Violation("limits.deadline_us", "is spent already; allow some time")])
        try:
            size = sum(map(worst_case.message_bytes, request.messages)) + worst_case.form_bytes(request.form)
        except UnicodeEncodeError:
            raise RequestError([Violation("messages", NOT_UNICODE)]) from None
        assert limits.input_bytes is not None
        # An image is bounded by its tokens, and its bytes are bytes all the same.
        counted = worst_case.counted_bytes(size, len(request.messages)) + sum(map(_image_bytes, request.messages))
        if counted > limits.input_bytes:
            more = "" if counted == size else f" ({counted} counted, {_PER_MESSAGE} more for each message after the first)"
            what = "are" if request.form == _PLAIN else "and form are"
            why = f"{what} {size} bytes of UTF-8{more} and limits.input_bytes is {limits.input_bytes}; shorten them or raise it"
            raise InputTooLarge([Violation("messages", why)])

        return size


_PLAIN_ROLES = frozenset({"assistant", "system", "developer"})
_UNSET = Sampling()
_PER_MESSAGE = worst_case.OVERHEAD_TOKENS_PER_MESSAGE
_NO_LIMITS = Limits()
_PLAIN = ReplyOptions()

# All that a request may ask for besides an answer to its messages.
_asked = attrgetter("attributes", "idempotency_key", "limits", "form", "sampling")
_NOTHING_ASKED = _asked(Request(()))


def _oversize(request: Request) -> Iterator[Violation]:
    messages = len(request.messages)
    if messages > MAX_MESSAGES:
        yield Violation("messages", f"are {messages}, and the most is {MAX_MESSAGES}; send fewer")
    elements = messages
    for field, count in _counts(request):
        elements += count
        if count > MAX_ELEMENTS:
            yield Violation(field, f"are {count}, and the most is {MAX_ELEMENTS}; send fewer")
        if elements > MAX_REQUEST_FIELDS:
            yield Violation("messages", f"have more than {MAX_REQUEST_FIELDS} parts together, which is the most; send fewer")


def _counts(request: Request) -> Iterator[tuple[str, int]]:
    yield "attributes", len(request.attributes or ())
    yield "tools", len(request.form.tools)
    yield "sampling.stop", len(request.sampling.stop or ())
    for position, message in enumerate(request.messages):
        if message.tool_calls:
            yield f"messages[{position}].tool_calls", len(message.tool_calls)
        if message.parts:
            yield f"messages[{position}].parts", len(message.parts)


def _characters(message: Message) -> int:
    calls = sum([sum(map(len, call)) for call in message.tool_calls]) if message.tool_calls else 0

    return len(message.content) + len(message.name) + len(message.carried) + calls


def _image_bytes(message: Message) -> int:
    return sum([len(part.url.encode()) for part in message.parts if isinstance(part, Image)])


def _asks(message: Message) -> bool:
    return message.role not in ("system", "developer") and bool(message.parts or message.content.strip())


def _in_tools(message: Message, field: str) -> Iterator[Violation]:
    if message.tool_calls and message.role != "assistant":
        yield Violation(f"{field}.tool_calls", f"are a model's to wish for, and the role is {message.role!r}")
    for position, call in enumerate(message.tool_calls):
        for name, value in (("id", call.id), ("name", call.name)):
            if not value:
                yield Violation(f"{field}.tool_calls[{position}].{name}", "is empty; give the call as the model made it")
    if message.role == "tool" and not message.tool_call_id:
        yield Violation(f"{field}.tool_call_id", "is empty; name the call that this message answers")
    elif message.tool_call_id and message.role != "tool":
        yield Violation(f"{field}.tool_call_id", f"is for the role 'tool', and the role is {message.role!r}")


def _in_form(form: ReplyOptions) -> Iterator[Violation]:
    if form == _PLAIN:
        return
    if len(form.tools) > MAX_TOOLS:
        yield Violation("tools", f"are {len(form.tools)}, and the most is {MAX_TOOLS}")
    names = [tool.name for tool in form.tools]
    for position, tool in enumerate(form.tools[:MAX_TOOLS]):
        yield from _in_tool(tool, f"tools[{position}]", again=tool.name in names[:position])
    choice = form.tool_choice
    if choice and not form.tools:
        yield Violation("tool_choice", f"is {choice!r}, and there are no tools to choose from")
    elif choice and choice not in TOOL_CHOICES and choice not in names:
        yield Violation("tool_choice", f"is {choice!r}, and it is the name of a tool or one of: {', '.join(TOOL_CHOICES)}")
    if form.response_format is not None:
        yield from _in_format(form.response_format)


def _in_tool(tool: Tool, field: str, *, again: bool) -> Iterator[Violation]:
    if not tool.name.strip():
        yield Violation(f"{field}.name", "is empty; a model calls a tool by its name")
    elif tool.name in TOOL_CHOICES:
        yield Violation(f"{field}.name", f"is {tool.name!r}, which as a tool_choice means something else; take another name")
    elif again:
        yield Violation(f"{field}.name", f"is {tool.name!r}, as another tool's is; a model could not tell them apart")
    for name, text in (("name", tool.name), ("description", tool.description)):
        if not is_unicode(text):
            yield Violation(f"{field}.{name}", NOT_UNICODE)
    if tool.parameters and not isinstance(_json(tool.parameters), dict):
        yield Violation(f"{field}.parameters", _NO_SCHEMA)


def _in_format(asked: ResponseFormat) -> Iterator[Violation]:
    field = "response_format"
    if not is_unicode(asked.name):
        yield Violation(f"{field}.name", NOT_UNICODE)
    if asked.kind == "json_schema" and not isinstance(_json(asked.schema), dict):
        yield Violation(f"{field}.schema", _NO_SCHEMA)
    elif asked.kind == "json_object" and asked.schema:
        yield Violation(f"{field}.schema", "is for the kind 'json_schema'; a 'json_object' may be any")


_NO_SCHEMA = "is no JSON text of an object; write a JSON Schema"


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _least(mine: int | None, theirs: int | None) -> int | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine

    return min(mine, theirs)


def _in_limits(limits: Limits) -> Iterator[Violation]:
    if limits == _NO_LIMITS:
        return
    for name, value, least in (
        ("hops", limits.hops, 1),
        ("cost_nano_usd", limits.cost_nano_usd, 0),
        ("input_bytes", limits.input_bytes, 1),
        ("output_tokens", limits.output_tokens, 0),
        ("input_tokens", limits.input_tokens, 0),
        ("calls", limits.calls, 0),
        ("deadline_us", limits.deadline_us, -MAX_INT64),  # one that is spent has an error of its own
    ):
        if value is not None and not least <= value <= MAX_INT64:
            yield Violation(f"limits.{name}", f"is {value}, and it lies in {least} to {MAX_INT64}")


def _out_of_range(name: str, value: float | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        if not all(is_unicode(text) for text in value):
            return NOT_UNICODE
        return "" if 0 < len(value) <= 16 and all(value) else "takes 1 to 16 texts that are not empty"
    if not math.isfinite(value):
        return "is not a finite number"
    if abs(value) > MAX_INT64:
        return f"is {value:g}, and the most is {MAX_INT64}"
    match name:
        case "max_tokens" if value < 1:
            return f"is {value:g}, and the least is 1"
        case "temperature" if not 0 <= value <= 2:
            return f"is {value:g}, and it lies in 0 to 2"
        case "top_p" if not 0 < value <= 1:
            return f"is {value:g}, and it lies above 0 and up to 1"
        case _:
            return ""
