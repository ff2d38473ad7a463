"""
Three hops in process, beside the same coroutines awaited by hand, and beside LangGraph.

The by-hand arm awaits the very coroutines that the mesh awaits, and asks of what they give what the guards ask; the request
to the backends, which takes the mesh some making, is made for it outside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from harness import Compare, Worker, at_least, at_most, each_awaited, each_in_cpu_time
from meshwalk.backends.base import ChatRequest
from meshwalk.mesh import Mesh
from three_hops import GREAT, LITTLE, PATH, REQUEST, intake, plan, recording


ASKED = ChatRequest(REQUEST.messages)
ATTRIBUTES = REQUEST.attributes


async def by_hand() -> str:
    signals = await intake(REQUEST.messages, ATTRIBUTES)
    if signals["complexity"] < 0.62:
        reply = await LITTLE.chat(ASKED)
        if (reply.confidence or 0) >= 0.8:
            return reply.text
    reply = await GREAT.chat(ASKED)

    return reply.text


def walking(mesh: Mesh) -> Callable[[], Awaitable[None]]:
    async def walk() -> None:
        walked = await mesh.walk(REQUEST)

        assert PATH == walked.path

    return walk


def test_walk_against_bare_coroutines(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer do three hops take, measured and handed to store and telemetry, than the same coroutines awaited by hand?
    """
    with compare.opened(recording(tmp_path, plan())) as opened:
        compare(each_awaited(walking(opened.mesh), opened.settle), each_awaited(by_hand), at_most(10))


def test_walk_and_recording_against_bare_coroutines(compare: Compare, tmp_path: Path) -> None:
    """
    How much more CPU time of the whole process do three hops take, until they are on disk and their spans built, than by hand?
    """
    with compare.opened(recording(tmp_path, plan())) as opened:
        compare(each_in_cpu_time(walking(opened.mesh), opened.settle), each_in_cpu_time(by_hand), None, seconds=0.2)


def test_walk_against_langgraph(compare: Compare, langgraph: Worker, tmp_path: Path) -> None:
    """
    How much longer does LangGraph take for the same graph than meshwalk, measured and handed to store and telemetry?
    """
    with compare.opened(recording(tmp_path, plan())) as opened:
        compare(langgraph, each_awaited(walking(opened.mesh), opened.settle), at_least(150))


def test_walk_and_recording_against_langgraph(compare: Compare, langgraph: Worker, tmp_path: Path) -> None:
    """
    How much longer does LangGraph take for the same graph than meshwalk's CPU time, until walks are on disk and spans built?
    """
    with compare.opened(recording(tmp_path, plan())) as opened:
        compare(langgraph, each_in_cpu_time(walking(opened.mesh), opened.settle), None, seconds=0.2)


def test_walk_with_features(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer do three hops take where the classifier reads the features of the house off a short prompt?
    """
    with (
        compare.opened(recording(tmp_path / "features", plan(features=True))) as features,
        compare.opened(recording(tmp_path / "nothing", plan())) as nothing,
    ):
        arms = [each_awaited(walking(opened.mesh), opened.settle) for opened in (features, nothing)]
        compare(arms[0], arms[1], None, seconds=0.2)
