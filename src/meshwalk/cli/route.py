"""
`meshwalk route`: one prompt, walked here or by a server.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import (
    DataFile,
    Json,
    NewTraces,
    TargetOption,
    TrustFlags,
    Whole,
    attribute_values,
    nano_usd,
    positive_duration_us,
)
from meshwalk.cli.output import NO, OK, Misuse, emit, report, say
from meshwalk.cli.remote import NO_FLAGS, RemoteFlags


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from meshwalk.model import Value, ValueType
    from meshwalk.model.trust import Trust
    from meshwalk.records.events import Event
    from meshwalk.records.hops import Hop
    from meshwalk.records.results import RouteResult
    from meshwalk.trace import Message, ReplyOptions, Request, ToolCall
    from meshwalk.wire.client import Client

    # Makes the request, once the types of the graph's attributes are known.
    Asker = Callable[[str, Mapping[str, ValueType]], Request]
    # Prints a walk's events, and returns its result and True if a part of the answer has been printed.
    Printing = Callable[[AsyncGenerator[Event, None]], Awaitable[tuple[RouteResult, bool]]]
    # The document of a walk, its hops, and True if a part of the answer has been printed.
    Walk = tuple[dict[str, Any], list[Hop], bool]


def route(
    *words: Annotated[str, Parameter(name="GRAPH PROMPT")],
    stdin: Annotated[bool, Parameter(name="-", negative="")] = False,
    messages: Annotated[str | None, Parameter(name="--messages", allow_leading_hyphen=True)] = None,
    target: TargetOption = "",
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    tools: Annotated[str | None, Parameter(name="--tools")] = None,
    tool_choice: str = "",
    response_format: str | None = None,
    stream: Annotated[bool, Parameter(name="--stream", negative="")] = False,
    session: str = "",
    workflow: str = "",
    graph: Annotated[str, Parameter(name="--graph")] = "",
    idempotency_key: str = "",
    data: DataFile = None,
    traces: NewTraces = None,
    max_cost_usd: float | None = None,
    max_hops: Annotated[int | None, Whole] = None,
    max_output_tokens: Annotated[int | None, Whole] = None,
    deadline: str | None = None,
    remote: RemoteFlags = NO_FLAGS,
    trust: TrustFlags = TrustFlags(),
    json: Json = False,
) -> int:
    """
    Walk one prompt over a graph file, or have a server do it.

    Exits with 1 if there is no answer: the graph refused, or the walk failed.

    Parameters
    ----------
    words
        The graph's YAML file (not with --target), and the prompt; one that begins with a dash goes behind `--`.
    stdin
        In the prompt's place: read it from stdin.
    messages
        In the prompt's place: a JSON file with a list of messages, as OpenAI's API has them; `-` reads it from stdin.
    target
        A server's `HOST:PORT`, instead of a graph file.
    set
        An attribute's value as NAME=VALUE; may be given several times.
    tools
        A JSON file with a list of functions that the model may call.
    tool_choice
        Which it calls: auto, none, required, or a function's name.
    response_format
        The answer's format: `json`, or a file with a JSON Schema.
    stream
        Print the answer as it comes; with --json, each event on a line.
    session
        The session that the request belongs to.
    workflow
        The workflow that the request belongs to.
    graph
        With --target: the graph to walk, where the server serves several.
    idempotency_key
        With --target: names this request among its retries; a second one with it gets the first one's walk.
    data
        The outcomes file of `recorded` backends that name none.
    traces
        A folder to store the walk in.
    max_cost_usd
        What the walk may cost; like all limits it only tightens the graph's.
    max_hops
        How many hops the walk may take.
    max_output_tokens
        How many tokens all replies together may have.
    deadline
        How long the walk may take, such as 300ms or 20s.
    """
    import anyio

    from meshwalk.model import Limits
    from meshwalk.trace import ReplyOptions, Request, Scopes

    path, asked = _words(words, target, stdin=stdin, messages=messages)
    form = _form(tools, tool_choice, response_format)
    limits = Limits(
        hops=max_hops,
        deadline_us=None if deadline is None else positive_duration_us("--deadline", deadline),
        cost_nano_usd=None if max_cost_usd is None else nano_usd("--max-cost-usd", max_cost_usd),
        output_tokens=max_output_tokens,
    )

    def ask(name: str, declared: Mapping[str, ValueType]) -> Request:
        values: Mapping[str, Value] = attribute_values(set, name, declared)
        scopes = Scopes(session, workflow)
        return Request(
            asked, attributes=values, scopes=scopes, limits=limits, idempotency_key=idempotency_key, form=form or ReplyOptions()
        )

    from meshwalk.cli.streams import print_events
    from meshwalk.model.problems import MeshwalkError

    printing = partial(print_events, json=json) if stream else None
    if target:
        if data is not None or traces is not None:
            raise Misuse("--data and --traces are the server's to choose; leave them out with --target")
        walk = partial(_there, remote.client(target), graph, ask, printing, typed=bool(set))
    else:
        remote.check_unused()
        if graph:
            raise Misuse("--graph names a graph of a server; with a graph file leave it out")
        if idempotency_key:
            raise Misuse("--idempotency-key is remembered by a server; with a graph file leave it out")
        walk = partial(_here, path, data, traces, ask, printing, trust.trust)
    try:
        document, hops, begun = anyio.run(walk)
    except MeshwalkError as error:
        return report(error, as_json=json, on_one_line=stream)
    if json:
        emit({"event": "result", **document} if stream else document, on_one_line=stream)
    else:
        _show(document, hops, begun=begun)

    return OK if document["outcome"] == "answered" else NO


def _words(words: tuple[str, ...], target: str, *, stdin: bool, messages: str | None) -> tuple[str, tuple[Message, ...]]:
    from meshwalk.cli.chat_files import read_messages
    from meshwalk.trace import Message

    if stdin and messages == "-":
        raise Misuse("stdin holds either the prompt or the messages; leave `-` or `--messages -` out")
    words = (*words, sys.stdin.read()) if stdin else words
    wanted = (*(() if target else ("GRAPH",)), *(() if messages is not None else ("PROMPT",)))
    if len(words) != len(wanted):
        raise Misuse(_miscounted(words, wanted, target, messages))
    chat = (Message("user", words[-1]),) if messages is None else read_messages(messages)

    return words[0] if words else "", chat


def _miscounted(words: Sequence[str], wanted: Sequence[str], target: str, messages: str | None) -> str:
    extra = f"{' with --target' if target else ''}{' and --messages' if target and messages else ''}"
    takes = f"{' and '.join(wanted) or 'no words'}{extra or (' with --messages' if messages else '')}"
    hint = "`-` reads the prompt from stdin"
    if len(words) > len(wanted):
        hint = "the messages stand in the prompt's place" if messages else "quote a prompt of several words"

    return f"route takes {takes}, and the words given are {len(words)}; {hint}"


def _form(tools: str | None, tool_choice: str, response_format: str | None) -> ReplyOptions | None:
    if tools is None and not tool_choice and response_format is None:
        return None
    from meshwalk.cli.chat_files import read_response_format, read_tools
    from meshwalk.trace import ReplyOptions

    return ReplyOptions(
        () if tools is None else read_tools(tools),
        tool_choice,
        None if response_format is None else read_response_format(response_format),
    )


async def _here(path: str, data: str | None, traces: str | None, ask: Asker, printing: Printing | None, trust: Trust) -> Walk:
    from meshwalk.cli.shapes import walk_document
    from meshwalk.loader import load_graph
    from meshwalk.mesh import Mesh
    from meshwalk.model import signals
    from meshwalk.plan import compile_plan
    from meshwalk.records.hops import hops_of
    from meshwalk.trace import disclosed_record

    plan = compile_plan(load_graph(path, trust=trust))
    request = ask(plan.name, {attribute.name: attribute.type for attribute in signals.attributes(plan.graph).values()})
    begun = False
    async with Mesh(plan, outcomes=data, traces=traces) as mesh:
        if printing is None:
            walked = await mesh.walk(request)
        else:
            walked, begun = await printing(mesh.stream(request.messages, **_arguments(request)))
    hops = hops_of(disclosed_record(walked.traversal), plan)
    document = walk_document(
        walked.traversal, hops, graph=plan.name, plan_digest=plan.plan_digest, answer=walked.answer, reason=walked.reason
    )

    return document | _besides(walked.tool_calls, repeated=walked.repeated), hops, begun


async def _there(server: Client, graph: str, ask: Asker, printing: Printing | None, *, typed: bool) -> Walk:
    from meshwalk.cli.shapes import walk_document

    begun = False
    async with server as client:
        declared: dict[str, ValueType] = {}
        name = graph
        if typed:
            described = await client.describe(graph)
            name = described.plan.graph
            declared = {attribute.name: attribute.type for attribute in described.attributes}
        request = ask(name, declared)
        if printing is None:
            routed = await client.send(request, graph=graph, detail="HOPS")
        else:
            events = client.stream(request.messages, graph=graph, detail="HOPS", **_arguments(request))
            routed, begun = await printing(events)
    hops = list(routed.hops)
    document = walk_document(
        routed, hops, graph=routed.plan.graph, plan_digest=routed.plan.plan_digest, answer=routed.answer, reason=routed.reason
    )

    return document | _besides(routed.tool_calls, repeated=routed.repeated), hops, begun


def _arguments(request: Request) -> dict[str, Any]:
    return {
        "attributes": request.attributes,
        "session": request.scopes.session,
        "workflow": request.scopes.workflow,
        "limits": request.limits,
        "tools": request.form.tools,
        "tool_choice": request.form.tool_choice,
        "response_format": request.form.response_format,
        "idempotency_key": request.idempotency_key,
    }


def _besides(calls: Sequence[ToolCall], *, repeated: bool) -> dict[str, Any]:
    # Few providers have anything to carry.
    wishes = [{key: value for key, value in call._asdict().items() if value or key != "carried"} for call in calls]

    return {"repeated": repeated, **({"tool_calls": wishes} if wishes else {})}


def _show(document: dict[str, Any], hops: list[Hop], *, begun: bool) -> None:
    from meshwalk.cli.show import console, hops_table

    if begun:
        # The answer has been printed as it came; its line is ended here.
        say("")
    else:
        say(document["answer"] if document["outcome"] == "answered" else f"{document['outcome']}: {document['reason']}")
    for call in document.get("tool_calls", ()):
        say(f"calls {call['name']}({call['arguments']})")
    say("")
    console().print(hops_table(hops))
    say(
        f"{document['cost_usd']:.6f} USD ({document['cost_basis']}), {document['latency_us'] / 1000:.1f} ms, "
        f"traversal {document['traversal_id']}{' (of an earlier call)' if document['repeated'] else ''}"
    )
