"""
`meshwalk route`: one prompt, walked here or by a server.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import DataFile, Json, NewTraces, Whole, attribute_values, duration_us, nano_usd
from meshwalk.cli.output import NO, OK, Misuse, emit, say


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meshwalk.model import Value, ValueType
    from meshwalk.records.hops import Hop
    from meshwalk.trace import Request, ToolCall

    # Makes the request once the graph, and so the types of its attributes, is known.
    Asker = Callable[[str, Mapping[str, ValueType]], Request]


def route(
    *words: Annotated[str, Parameter(name="GRAPH PROMPT")],
    stdin: Annotated[bool, Parameter(name="-", negative="")] = False,
    target: Annotated[str, Parameter(name="--target")] = "",
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
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
    target
        A server's `HOST:PORT`, instead of a graph file.
    set
        An attribute's value as NAME=VALUE; may be given several times.
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
    from meshwalk.trace import Message, Request, Scopes

    path, prompt = _given(words, target, stdin)
    limits = Limits(
        hops=max_hops,
        deadline_us=None if deadline is None else duration_us("--deadline", deadline),
        cost_nano_usd=None if max_cost_usd is None else nano_usd("--max-cost-usd", max_cost_usd),
        output_tokens=max_output_tokens,
    )

    def ask(name: str, declared: Mapping[str, ValueType]) -> Request:
        values: Mapping[str, Value] = attribute_values(set, name, declared)
        scopes = Scopes(session, workflow)
        message = Message("user", prompt)
        return Request((message,), attributes=values, scopes=scopes, limits=limits, idempotency_key=idempotency_key)

    if target:
        if data is not None or traces is not None:
            raise Misuse("--data and --traces are the server's to choose; leave them out with --target")
        document, hops = anyio.run(_there, target, graph, ask, bool(set))
    else:
        if graph:
            raise Misuse("--graph names a graph of a server; with a graph file leave it out")
        if idempotency_key:
            raise Misuse("--idempotency-key is remembered by a server; with a graph file leave it out")
        document, hops = anyio.run(_here, path, data, traces, ask)
    if json:
        emit(document)
    else:
        _show(document, hops)

    return OK if document["outcome"] == "answered" else NO


def _given(words: tuple[str, ...], target: str, stdin: bool) -> tuple[str, str]:
    given = (*words, sys.stdin.read()) if stdin else words
    wanted = ("PROMPT",) if target else ("GRAPH", "PROMPT")
    if len(given) != len(wanted):
        hint = "quote a prompt of several words" if len(given) > len(wanted) else "`-` reads the prompt from stdin"
        takes = f"{' and '.join(wanted)}{' with --target' if target else ''}"
        raise Misuse(f"route takes {takes}, and the words given are {len(given)}; {hint}")

    return given[0], given[-1]


async def _here(path: str, data: str | None, traces: str | None, ask: Asker) -> tuple[dict[str, Any], list[Hop]]:
    from meshwalk.cli.shapes import walk_document
    from meshwalk.loader import load_graph
    from meshwalk.mesh import Mesh
    from meshwalk.model import signals
    from meshwalk.plan import compile_plan
    from meshwalk.records.hops import hops_of

    plan = compile_plan(load_graph(path))
    request = ask(plan.name, {attribute.name: attribute.type for attribute in signals.attributes(plan.graph).values()})
    async with Mesh(plan, outcomes=data, traces=traces) as mesh:
        walked = await mesh.walk(request)
    hops = hops_of(walked.traversal, plan)
    document = walk_document(
        walked.traversal, hops, graph=plan.name, plan_digest=plan.plan_digest, answer=walked.answer, reason=walked.reason
    )

    return document | _besides(walked.tool_calls, repeated=walked.repeated), hops


async def _there(target: str, graph: str, ask: Asker, typed: bool) -> tuple[dict[str, Any], list[Hop]]:
    from meshwalk.cli.shapes import walk_document
    from meshwalk.wire.client import Client

    async with Client(target) as client:
        declared: dict[str, ValueType] = {}
        name = graph
        if typed:
            described = await client.describe(graph)
            name = described.plan.graph
            declared = {attribute.name: attribute.type for attribute in described.attributes}
        routed = await client.send(ask(name, declared), graph=graph, detail="HOPS")
    hops = list(routed.hops)
    document = walk_document(
        routed, hops, graph=routed.plan.graph, plan_digest=routed.plan.plan_digest, answer=routed.answer, reason=routed.reason
    )

    return document | _besides(routed.tool_calls, repeated=routed.repeated), hops


def _besides(calls: Sequence[ToolCall], *, repeated: bool) -> dict[str, Any]:
    wishes = [call._asdict() for call in calls]

    return {"repeated": repeated, **({"tool_calls": wishes} if wishes else {})}


def _show(document: dict[str, Any], hops: list[Hop]) -> None:
    from meshwalk.cli.show import console, hops_table

    say(document["answer"] if document["outcome"] == "answered" else f"{document['outcome']}: {document['reason']}")
    for call in document.get("tool_calls", ()):
        say(f"calls {call['name']}({call['arguments']})")
    say("")
    console().print(hops_table(hops))
    say(
        f"{document['cost_usd']:.6f} USD ({document['cost_basis']}), {document['latency_us'] / 1000:.1f} ms, "
        f"traversal {document['traversal_id']}{' (of an earlier call)' if document['repeated'] else ''}"
    )
