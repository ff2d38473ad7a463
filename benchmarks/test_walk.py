"""
Three hops in process, beside the same coroutines awaited by hand, and beside LangGraph.
"""

from __future__ import annotations

from pathlib import Path

from harness import Arm, Compare, Worker, at_least, at_most, each_awaited
from meshwalk.mesh import Mesh
from three_hops import PATH, REQUEST, open_mesh


def walks(mesh: Mesh) -> Arm:
    async def walk() -> None:
        walked = await mesh.walk(REQUEST)

        assert PATH == walked.path

    return each_awaited(walk)


async def intake() -> float:
    return 0.4


async def small() -> tuple[str, float]:
    return "perhaps", 0.3


async def large() -> str:
    return "certainly"


async def by_hand() -> str:
    if await intake() < 0.62:
        answer, confidence = await small()
        if confidence >= 0.8:
            return answer

    return await large()


def test_walk_against_bare_coroutines(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer do three hops take, their recording not timed, than the same coroutines awaited by hand?
    """
    with compare.opened(open_mesh(tmp_path)) as mesh:
        compare(walks(mesh), each_awaited(by_hand), at_most(10))


def test_walk_against_langgraph(compare: Compare, langgraph: Worker, tmp_path: Path) -> None:
    """
    How much longer does LangGraph take for the same graph than meshwalk, its recording not timed?
    """
    with compare.opened(open_mesh(tmp_path)) as mesh:
        compare(langgraph, walks(mesh), at_least(150))
