"""
The public calls, for callers without a type checker: an error of ours names the parameter, whatever it was given.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import meshwalk
from meshwalk import (
    BlockingClient,
    Caps,
    Client,
    Limits,
    Mesh,
    MeshwalkError,
    Message,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    TraceReader,
    TraceWriter,
    compile_plan,
    load,
    load_graph,
)
from meshwalk.model.arguments import described


pytestmark = pytest.mark.anyio

GRAPH = """\
meshwalk: 1
name: small
start: a
limits: {input_bytes: 1000}
backends: {s: {kind: simulated}}
nodes: {a: {role: answer, backend: s, max_tokens: 8, next: done}}
"""

# Values that no parameter below takes.
NEVER: list[Any] = [object(), {5: 1}, float("nan"), {1, 2}]
# Values that some take, and others must refuse in our words.
MAYBE: list[Any] = [None, 5, -1, 2.5, True, "x", b"x", [], {}, {"a": 1}, [5], [{}], [{"role": 5}], (), lambda: 1]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.yaml"
    path.write_text(GRAPH, encoding="utf-8")

    return path


@pytest.fixture
async def mesh(graph: Path) -> AsyncIterator[Mesh]:
    async with load(graph) as mesh:
        yield mesh


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    # Nothing listens there: a call that is let through fails as a call.
    async with Client("127.0.0.1:9") as client:
        yield client


def assert_named(error: BaseException, name: str) -> None:
    """
    Assert that *error* is one of ours, and speaks of the parameter *name*.
    """
    assert isinstance(error, MeshwalkError), f"{type(error).__name__}: {error}"
    assert re.search(rf"\b{name}(?!\w)", str(error)), str(error)


async def refused(call: Callable[[Any], Any], name: str) -> None:
    """
    Make *call* with each value; those that nothing takes are refused, and a refusal names the parameter.
    """
    for value in (*NEVER, *MAYBE):
        try:
            result = call(value)
            if hasattr(result, "__aiter__"):
                async for _ in result:
                    pass
            elif hasattr(result, "__await__"):
                await result
        except Exception as error:  # noqa: BLE001 (whatever is raised is looked at)
            # A call that was let through may still find nobody, or stop.
            if not isinstance(error, meshwalk.RpcError | meshwalk.WalkStopped):
                assert_named(error, name)
        else:
            assert not any(value is one for one in NEVER), f"{name} took {value!r}"


REQUEST = {
    **{name: name for name in ("attributes", "session", "workflow", "limits", "sampling", "tools", "tool_choice", "timeout")},
    "prompt": "messages",
    "response_format": "response_format",
}
FOR_A_WALK = REQUEST | {"traceparent": "traceparent", "idempotency_key": "idempotency_key"}


@pytest.mark.parametrize("name", FOR_A_WALK)
@pytest.mark.parametrize("method", ["route", "stream", "decide"])
async def test_a_request(method: str, name: str, mesh: Mesh) -> None:
    """
    Each argument of a request is refused by its name.
    """
    if name not in REQUEST and method == "decide":
        pytest.skip("a preview has no such argument")
    await refused(lambda value: getattr(mesh, method)(**{"prompt": "hello", name: value}), FOR_A_WALK[name])


async def test_a_callback(mesh: Mesh) -> None:
    """
    A callback that cannot be called is refused before the walk.
    """
    with pytest.raises(meshwalk.RequestError, match="on_delta: is 5, and takes a function of a text"):
        await mesh.route("hello", on_delta=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["send", "preview", "walk"])
async def test_a_whole_request(method: str, mesh: Mesh) -> None:
    """
    A thing that is no request is refused as one.
    """
    await refused(getattr(mesh, method), "request")


@pytest.mark.parametrize("name", Limits._fields)
async def test_limits(name: str, mesh: Mesh) -> None:
    """
    A limit that is no whole number is named, in `Limits` and in `Limits.of`.
    """
    of = {"deadline_us": "deadline", "cost_nano_usd": "cost_usd"}.get(name, name)

    await refused(lambda value: mesh.route("hello", limits=Limits(**{name: value})), name)
    await refused(lambda value: Limits.of(**{of: value}), of)


@pytest.mark.parametrize("name", Sampling._fields)
async def test_sampling(name: str, mesh: Mesh) -> None:
    """
    A sampling parameter of another type is named.
    """
    await refused(lambda value: mesh.route("hello", sampling=Sampling(**{name: value})), name)


@pytest.mark.parametrize("name", Tool._fields)
async def test_tools(name: str, mesh: Mesh) -> None:
    """
    A field of a tool that is no text is named, with the tool's place.
    """
    await refused(lambda value: mesh.route("hello", tools=[Tool(**{"name": "look", name: value})]), rf"tools\[0\]\.{name}")


@pytest.mark.parametrize("name", ResponseFormat._fields)
async def test_response_formats(name: str, mesh: Mesh) -> None:
    """
    A field of a response format that is of another type is named.
    """
    fields: dict[str, Any] = {"kind": "json_object"}

    await refused(
        lambda value: mesh.route("hello", response_format=ResponseFormat(**fields | {name: value})), "response_format"
    )


@pytest.mark.parametrize("name", ["role", "content", "name", "tool_calls", "tool_call_id", "carried"])
async def test_messages(name: str, mesh: Mesh) -> None:
    """
    A field of a message is named with the message's place, whether it is a `Message` or a mapping.
    """
    fields: dict[str, Any] = {"role": "user", "content": "hello"}

    await refused(lambda value: mesh.route([Message(**fields | {name: value})]), rf"messages\[0\](\.{name})?")
    await refused(lambda value: mesh.route([fields | {name: value}]), rf"messages\[0\](\.{name})?")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (load, "path"),
        (Mesh.from_file, "path"),
        (load_graph, "path"),
        (Mesh, "plan"),
        (compile_plan, "graph"),
        (Client, "target|address"),
        (BlockingClient, "target|address"),
        (TraceReader, "folder|traces"),
        (TraceWriter, "folder|traces"),
    ],
)
async def test_what_comes_first(make: Callable[[Any], Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The path, plan, graph or address that an object is made of is refused by its name.
    """
    monkeypatch.chdir(tmp_path)
    for value in (*NEVER, None, 5, 2.5, True, b"x", [], {}, ""):
        if make is TraceWriter and value == "":
            continue
        with pytest.raises(MeshwalkError) as refusal:
            make(value)
        assert_named(refusal.value, f"({name})")


OPTIONS = ("outcomes", "backends", "sinks", "traces", "vault", "tenant", "retry_window", "grace", "clock", "chance")


@pytest.mark.parametrize("name", OPTIONS)
async def test_options_of_a_mesh(name: str, graph: Path) -> None:
    """
    An option of another type is refused by its name when the mesh is made.
    """
    for value in NEVER:
        with pytest.raises(MeshwalkError) as refusal:
            load(graph, **{name: value})
        assert_named(refusal.value, name)


@pytest.mark.parametrize("name", ["credentials", "metadata"])
async def test_options_of_a_client(name: str) -> None:
    """
    An option of a client is refused by its name.
    """
    for value in (*NEVER, 5, "x"):
        with pytest.raises(MeshwalkError) as refusal:
            Client("127.0.0.1:9", **{name: value})
        assert_named(refusal.value, name)


CALLS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "traversal": ({"traversal_id": "a"}, ("traversal_id", "timeout")),
    "traversals": ({}, ("graph", "session", "workflow", "outcome", "size", "page", "timeout")),
    "describe": ({}, ("graph", "timeout")),
    "graphs": ({}, ("timeout",)),
    "budgets": ({}, ("scope", "name", "graph", "size", "page", "timeout")),
    "set_budget": (
        {"scope": "session", "name": "a", "caps": Caps(calls=1), "key": "k"},
        ("scope", "name", "caps", "key", "timeout"),
    ),
    "route": ({"prompt": "a"}, ("graph", "detail", "session", "limits")),
    "stream": ({"prompt": "a"}, ("graph", "detail")),
    "decide": ({"prompt": "a"}, ("graph",)),
    "send": ({"request": Request((Message("user", "a"),))}, ("request", "graph", "detail")),
}


@pytest.mark.parametrize(("method", "name"), [(method, name) for method, (_, names) in CALLS.items() for name in names])
async def test_calls_of_a_client(method: str, name: str, client: Client) -> None:
    """
    Each argument of each call is refused by its name, before anything is sent.
    """
    await refused(lambda value: getattr(client, method)(**CALLS[method][0] | {name: value}), name)


@pytest.mark.parametrize("name", ["linger", "largest", "in_flight"])
async def test_a_stream_for_many(name: str, client: Client) -> None:
    """
    The options of a stream for many requests are refused by their names.
    """
    await refused(lambda value: client.many(**{name: value}), name)


async def test_a_mapping_is_a_message(mesh: Mesh) -> None:
    """
    Messages in the shape of OpenAI's API are taken wherever messages are, alone, in a list and in a request.
    """
    spoken = {"role": "user", "content": "hello"}
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    spoken_by_a_tool = {"role": "tool", "content": "sunny", "tool_call_id": "c1"}
    turn = [spoken, {"role": "assistant", "content": None, "tool_calls": [call]}, spoken_by_a_tool]
    expected = await mesh.decide([Message("user", "hello")])

    assert expected.path == (await mesh.decide([spoken])).path
    assert expected.path == (await mesh.preview(Request([spoken]))).path  # type: ignore[arg-type]
    assert (await mesh.route(turn)).answer  # type: ignore[arg-type]


async def test_a_misspelt_field_is_asked_for(mesh: Mesh) -> None:
    """
    A field of a message that is not known is answered by the one that was meant.
    """
    with pytest.raises(meshwalk.RequestError, match=r"messages\[0\]\.contents: is not known; did you mean 'content'\?"):
        await mesh.route([{"role": "user", "contents": "hello"}])


def test_no_content_is_repeated() -> None:
    """
    An error shows a number, and of anything else only its type: a prompt is its caller's own.
    """
    assert ["5", "None", "of the type str", "of the type dict"] == [described(value) for value in (5, None, "secret", {"a": 1})]
