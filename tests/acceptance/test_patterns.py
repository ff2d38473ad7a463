"""
The four routing patterns as they ship, end to end: real HTTP model servers below, gRPC above, and the books in agreement.

Each way is gone through `Route` and through `RouteStream`, and comes to the same nodes and words.  Whatever was asked, the
money is what the server's own log says at the graph's prices, to the nano-dollar; the spans make one tree for each walk; and
the records replay unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from meshwalk.model import Limits
from meshwalk.records.store import TraceReader
from meshwalk.review.replay import replay_all
from tests.acceptance.pattern_cases import DOWN, GRAPHS, HARD, JSON, LONG, STRICT, WAYS
from tests.acceptance.pattern_server import Says
from tests.acceptance.pattern_stage import Door, Play, Script, Stage, Way, staged


pytestmark = pytest.mark.anyio

DOORS: tuple[Door, ...] = ("Route", "RouteStream")
Staged = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Staged:
    """
    Stage a graph by its name.
    """

    def staging(
        graph: str, says: Script, quick: Mapping[str, str] | None = None, traces: Path | None = None
    ) -> AbstractAsyncContextManager[Stage]:
        return staged(Play(graph, quick), says, monkeypatch, traces)

    return staging


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("graph", "way"), WAYS.values(), ids=WAYS)
async def test_ways(graph: str, way: Way, door: Door, stage: Staged) -> None:
    """
    The request goes its way, and the caller has the words of the model that served it.
    """
    async with stage(graph, way.says, way.quick) as on:
        heard = await on.take(door, way)

    assert (way.path, way.served) == (heard.path, heard.served), heard.reason
    if way.served:
        said = way.says[way.served]
        assert (said if isinstance(said, Says) else said[-1]).text == heard.answer


@pytest.mark.parametrize("graph", GRAPHS)
def test_graphs_compile_without_a_warning(graph: str) -> None:
    """
    What ships has nothing that `check` warns of.
    """
    assert () == Play(graph).plan.warnings


@pytest.mark.parametrize("graph", GRAPHS)
async def test_stored_traces_replay_unchanged(graph: str, stage: Staged, tmp_path: Path) -> None:
    """
    What was stored is enough to come to the same decisions again, plan and all.
    """
    way = GRAPHS[graph][1]
    async with stage(graph, way.says, way.quick, tmp_path) as on:
        for door in DOORS:
            await on.take(door, way)
    with TraceReader(tmp_path) as reader:
        report = replay_all(reader)

    assert (2, 2) == (report.total, report.unchanged)


# ---- what the models were sent --------------------------------------------------------------------------------------


async def test_json_mode_reaches_whom_it_is_meant_for(stage: Staged) -> None:
    """
    The format that a caller asks for reaches the scribe and the general model, and not the model that sorts.
    """
    says = {"sort": Says("formatting"), "formatting": Says("{", finish="length"), "primary": Says("{}")}
    async with stage("specialists", says) as on:
        await on.ask("Route", "As JSON, please.", response_format=JSON.response_format)

    assert [None, {"type": "json_object"}, {"type": "json_object"}] == [
        charge.body.get("response_format") for charge in on.server.log
    ]


async def test_a_judge_is_shown_the_answer(stage: Staged) -> None:
    """
    What the specialist said stands in the judge's prompt.
    """
    says = {"reasoning": Says("They meet at three."), "judge": Says("SCORE: 1")}
    async with stage("specialists", says) as on:
        await on.ask("Route", "When do they meet?", task="reasoning")

    assert "Answer: They meet at three." in on.server.log[-1].texts[-1]


@pytest.mark.parametrize("door", DOORS)
async def test_what_was_asked_before_costs_nothing(door: Door, stage: Staged) -> None:
    """
    The second time, neither the verdict nor the answer is paid for, and the caller hears the same.
    """
    async with stage("prescreen", {"screen": Says("Yes."), "primary": Says(LONG)}) as on:
        first, second, other = [
            await on.ask(door, prompt) for prompt in ("Why twice?", "Why twice?", "Why was I billed three times?")
        ]

    assert (first.path, first.answer, 0) == (second.path, second.answer, second.cost_nano_usd)
    assert 0 < first.cost_nano_usd
    assert 0 < other.cost_nano_usd
    assert 4 == len(on.server.log)


# ---- five dimensions: the same graph goes two ways, and only one thing differs --------------------------------------


UP: Script = {
    "screen": Says("Yes."),
    "sort": Says("formatting"),
    "scribe": Says("At nine."),
    "primary": Says(LONG),
    "brief": Says("At nine, I think."),
}
DOUBTFUL: Script = {**UP, "scribe": Says("At nine.", sure=0.5)}
PLAIN = "When do you open?"
SPECIALIST, LARGE, BRIEF = "screen intake sort scribe", "screen intake primary", "screen intake brief"


async def paths(stage: Staged, *asked: Mapping[str, Any], says: Script = UP) -> list[str]:
    """
    Ask the front desk, as each of *asked* says, and return where that went.
    """
    found = []
    async with stage("front-desk", says) as on:
        for options in asked:
            given = dict(options)
            found.append((await on.ask("Route", given.pop("prompt", PLAIN), **given)).path)

    return found


async def test_complexity(stage: Staged) -> None:
    """
    A plain wording goes to a specialist, a hard one to the large model.
    """
    assert [SPECIALIST, LARGE] == await paths(stage, {"prompt": PLAIN}, {"prompt": HARD})


async def test_confidence(stage: Staged) -> None:
    """
    The probability of a specialist's tokens tells whether its answer is served.
    """
    assert [[SPECIALIST], [f"{SPECIALIST} primary"]] == [
        await paths(stage, {}, says=UP),
        await paths(stage, {}, says=DOUBTFUL),
    ]


@pytest.mark.parametrize("hurry", [{"urgency": "realtime"}, {"limits": Limits(deadline_us=4_000_000)}, {"timeout": 4.0}])
async def test_latency_sensitivity(hurry: dict[str, Any], stage: Staged) -> None:
    """
    Who says that it is urgent, or leaves little time, gets a brief answer at once.
    """
    assert [LARGE, BRIEF] == await paths(stage, {"prompt": HARD}, {"prompt": HARD, **hurry})


async def test_cost_budget(stage: Staged) -> None:
    """
    Of two sessions that ask the same, the one near its ceiling is answered by the small model.
    """
    async with stage("front-desk", UP) as on:
        await on.spend("0.85", session="old")
        asked = [await on.ask("Route", HARD, session=session) for session in ("new", "old")]

    assert [LARGE, BRIEF] == [heard.path for heard in asked]


async def test_correctness_requirement(stage: Staged) -> None:
    """
    What must be right goes to the large model, however plain its wording.
    """
    assert [SPECIALIST, LARGE] == await paths(stage, {}, STRICT)


# ---- over several requests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
async def test_a_session_near_its_ceiling_shifts_to_smaller_models_whatever_the_complexity(door: Door, stage: Staged) -> None:
    """
    A session that asks hard, long and strict questions has the large model for four fifths of its budget, then the small one.
    """
    long = f"{HARD}\n{'The invoices of this month, line by line. ' * 300}"
    says = {**UP, "primary": Says(LONG, usage=(12_000, 1_200)), "brief": Says("I am not sure.")}
    async with stage("front-desk", says) as on:
        heard = [await on.ask(door, f"{number}. {long}", session="s", correctness="strict") for number in range(24)]
    costs = [one.cost_nano_usd for one in heard]
    free = [one.path for one in heard].count(LARGE)

    assert [LARGE] * free + [BRIEF] * (24 - free) == [one.path for one in heard]
    assert 0 < free < 24
    assert sum(costs[: free - 1]) <= 800_000_000 < sum(costs[:free])
    assert sum(costs) < 1_000_000_000


async def test_a_large_model_that_is_away_is_not_waited_for(stage: Staged) -> None:
    """
    Once its breaker is open, hard questions go to a specialist whose answer is judged, and nobody calls the large model.
    """
    says = {**UP, "primary": DOWN, "sort": Says("reasoning"), "analyst": Says("At three."), "judge": Says("SCORE: 0.9")}
    async with stage("front-desk", says, {"first: 200ms": "first: 2ms"}) as on:
        asked = [(await on.ask("Route", prompt)).path for prompt in (HARD, f"Now {HARD}")]

    assert [f"{LARGE} salvage brief", "screen intake sort analyst judge"] == asked
    assert 3 == [charge.model for charge in on.server.log].count("gpt-4o")
