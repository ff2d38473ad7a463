"""
The types that users of the public names see: mypy checks each `assert_type`, and the tests run the same lines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import assert_type

import pytest

import meshwalk
from meshwalk import (
    BackendError,
    Graph,
    GraphError,
    Hop,
    Mesh,
    MeshwalkError,
    Plan,
    Preview,
    RequestError,
    Router,
    RouteResult,
    SetupError,
    TraceError,
    TraceReader,
    TraceWriter,
    Traversal,
    WalkStopped,
)
from meshwalk.server import serve
from meshwalk.wire.client import Client


GRAPH = """
meshwalk: 1
name: typed
start: small
limits: {cost_usd: 0.5}
backends: {little: {kind: simulated, usd_per_mtok: {input: 0.1, output: 0.4}}}
nodes: {small: {role: answer, backend: little, max_tokens: 20, next: done}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "typed.yaml"
    file.write_text(GRAPH, encoding="utf-8")

    return file


@pytest.fixture
async def mesh(path: Path) -> AsyncIterator[Mesh]:
    async with Mesh(meshwalk.compile_plan(meshwalk.load_graph(path))) as opened:
        yield opened


def test_a_plan(path: Path) -> None:
    """
    A path becomes a graph, and a graph a plan.
    """
    graph = meshwalk.load_graph(path)
    assert_type(graph, Graph)
    plan = meshwalk.compile_plan(graph)
    assert_type(plan, Plan)
    assert_type(plan.graph, Graph)
    assert_type(plan.name, str)

    assert "typed" == plan.name


def test_a_mesh(path: Path) -> None:
    """
    `load` gives a mesh, before anything is opened.
    """
    assert_type(meshwalk.load(path), Mesh)


@pytest.mark.anyio
async def test_a_result(mesh: Mesh) -> None:
    """
    What a walk gives is typed down to its hops.
    """
    result = await mesh.route("hello", attributes={})
    assert_type(result, RouteResult)
    assert_type(result.answer, str)
    assert_type(result.path, tuple[str, ...])
    assert_type(result.cost_usd, float)
    assert_type(result.cost_nano_usd, int)
    assert_type(result.hops, tuple[Hop, ...])
    assert_type(result.error(), WalkStopped | None)
    assert_type(result.traversal, Traversal)

    assert ("small",) == result.path


@pytest.mark.anyio
async def test_a_preview(mesh: Mesh) -> None:
    """
    A decision without a call is a preview.
    """
    assert_type(await mesh.decide("hello"), Preview)


@pytest.mark.anyio
async def test_a_client(mesh: Mesh) -> None:
    """
    A client gives the same result as a mesh.
    """
    async with serve([mesh], listen="127.0.0.1:0") as server, Client(f"127.0.0.1:{server.port}") as client:
        assert_type(server.port, int)
        routers: list[Router] = [mesh, client]
        for router in routers:
            assert_type(await router.route("hello", attributes={}), RouteResult)
            assert_type(await router.decide("hello"), Preview)
        assert_type(await client.route("hello"), RouteResult)


@pytest.mark.anyio
async def test_records(mesh: Mesh, tmp_path: Path) -> None:
    """
    A store takes traversals, and a reader gives them back, or None.
    """
    writer = TraceWriter(tmp_path / "traces")
    traversal = (await mesh.route("hello")).traversal
    writer.record(traversal, mesh.plan)
    await writer.aclose()
    with TraceReader(tmp_path / "traces") as reader:
        assert_type(reader, TraceReader)
        assert_type(reader.get("none"), Traversal | None)

        assert reader.get(traversal.traversal_id) is not None


def test_errors_have_one_parent() -> None:
    """
    Each public error is a `MeshwalkError`, for mypy as well.
    """
    kinds: Mapping[str, type[MeshwalkError]] = {
        "backend": BackendError,
        "graph": GraphError,
        "request": RequestError,
        "setup": SetupError,
        "trace": TraceError,
        "walk": WalkStopped,
    }

    assert all(issubclass(kind, MeshwalkError) for kind in kinds.values())


def test_a_misspelt_name_is_none() -> None:
    """
    A name that does not exist is an error, for mypy as well: an ignore that is not needed would fail the check.
    """
    with pytest.raises(AttributeError, match="Mehs"):
        _ = meshwalk.Mehs  # type: ignore[attr-defined]


def test_all_names_are_listed() -> None:
    """
    `dir` shows the public names, which are imported only when they are used.
    """
    assert set() == set(meshwalk.__all__) - set(dir(meshwalk))
    assert meshwalk.Mesh is meshwalk.Mesh
