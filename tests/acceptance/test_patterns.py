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

from meshwalk.model import Limits, Value
from meshwalk.replay import replay_all
from meshwalk.store import Shelf
from meshwalk.trace import Form, Message, ResponseFormat
from pattern_server import Says
from patterns import Door, Play, Script, Stage, Way, staged


pytestmark = pytest.mark.anyio

DOORS: tuple[Door, ...] = ("Route", "RouteStream")
Staged = Callable[..., AbstractAsyncContextManager[Stage]]

# A reply that is long enough for every `hold_first`.
LONG = " ".join(["word"] * 60)
DOWN = Says(status=503)
# It stumbles once: the server asks for no pause, so the retry comes at once.
STUMBLES = (Says(status=429, retry_after="0"), Says("Paris."))
HARD = (
    "Prove step by step that either the two invoices add up or one of them was counted twice, and if so compare each of the "
    "three tariffs, calculate the difference for every month, and explain which one we should choose and why before the next "
    "bill comes."
)
JSON = Form(response_format=ResponseFormat("json_object"))
STRICT: Mapping[str, Value] = {"correctness": "strict"}
REALTIME: Mapping[str, Value] = {"urgency": "realtime"}


CASCADE = [
    Way("a sure small model answers", "small", "small", {"small": Says("Paris.")}),
    Way(
        "a doubtful one leaves it to the next rung, which is heard as it speaks",
        "small medium",
        "medium",
        {"small": Says("Lyon?", sure=0.5), "medium": Says(LONG, sure=0.9)},
    ),
    Way(
        "a next rung that begins in doubt is stopped after 32 tokens, and paid for those",
        "small medium primary",
        "primary",
        {"small": Says("Lyon?", sure=0.5), "medium": Says(LONG, sure=0.5, stalls_after=32), "primary": Says(LONG)},
    ),
    Way(
        "what was cut off climbs, however sure it is",
        "small medium primary",
        "primary",
        {"small": Says("Pa", finish="length"), "medium": Says("Par", finish="length"), "primary": Says("Paris.")},
    ),
    Way(
        "a server that gives no probabilities is not trusted",
        "small medium",
        "medium",
        {"small": Says("Paris.", sure=None), "medium": Says("Paris.")},
    ),
    Way(
        "rungs that are down are stepped over, and one that stumbles is asked again",
        "small medium primary",
        "primary",
        {"small": DOWN, "medium": DOWN, "primary": STUMBLES},
    ),
    Way(
        "a rung that is slow is asked once more beside itself, and the first to answer is taken",
        "small medium",
        "medium",
        {"small": Says("Lyon?", sure=0.5), "medium": (Says(stalls_after=0), Says(LONG))},
        quick={"hedge: 4s": "hedge: 30ms"},
    ),
    Way(
        "a primary that is down leaves the small model's answer",
        "small medium primary",
        "small",
        {"small": Says("Lyon?", sure=0.5), "medium": Says("Lyon?", sure=0.5), "primary": DOWN},
        quick={"first: 200ms": "first: 2ms"},
    ),
    Way(
        "with nobody up the caller is told so",
        "small medium primary sorry",
        "",
        {"small": DOWN, "medium": DOWN, "primary": DOWN},
        quick={"first: 200ms": "first: 2ms"},
    ),
    Way("who cannot wait gets what there is", "small", "small", {"small": Says("Lyon?", sure=0.5)}, attributes=REALTIME),
]

CLASSIFIER = [
    Way("a plain wording goes to the small model", "intake small", "small", {"small": Says("Paris.")}),
    Way("a hard wording goes to the large one", "intake primary", "primary", {"primary": Says(LONG)}, prompt=HARD),
    Way(
        "in between a small model calls it plain",
        "intake triage small",
        "small",
        {"triage": Says("plain"), "small": Says("James.")},
        prompt="Who was the first king of both England and Scotland?",
    ),
    Way(
        "or hard",
        "intake triage primary",
        "primary",
        {"triage": Says("Hard."), "primary": Says("James.")},
        prompt="Who was the first king of both England and Scotland?",
    ),
    Way(
        "a label that it is not sure of does not count",
        "intake triage primary",
        "primary",
        {"triage": Says("plain", sure=0.6), "primary": Says("James.")},
        prompt="Who was the first king of both England and Scotland?",
    ),
    Way(
        "without a label the large model is asked",
        "intake triage primary",
        "primary",
        {"triage": DOWN, "primary": Says("James.")},
        prompt="Who was the first king of both England and Scotland?",
    ),
    Way(
        "what must be right goes to the large model",
        "intake primary",
        "primary",
        {"primary": Says("Paris.")},
        attributes=STRICT,
    ),
    Way("who cannot wait to the small one", "intake small", "small", {"small": Says(LONG)}, prompt=HARD, attributes=REALTIME),
    Way(
        "a small model that is down is replaced", "intake small primary", "primary", {"small": DOWN, "primary": Says("Paris.")}
    ),
]

OPENING = (Message("system", "The shop opens at nine."), Message("user", "When does the shop open?"))
SPECIALISTS = [
    Way(
        "retrieval is read from the texts that come with it",
        "intake retrieval",
        "retrieval",
        {"retrieval": Says("At nine.")},
        prompt=OPENING,
        attributes={"task": "retrieval"},
    ),
    Way(
        "what is not found for sure the general model looks for",
        "intake retrieval primary",
        "primary",
        {"retrieval": Says("At ten?", sure=0.4), "primary": Says("At nine.")},
        prompt=OPENING,
        attributes={"task": "retrieval"},
    ),
    Way(
        "a task that is not said is found out",
        "intake sort formatting",
        "formatting",
        {"sort": Says("formatting"), "formatting": Says('{"name": "Ada"}')},
        prompt="As JSON: name Ada.",
        form=JSON,
    ),
    Way(
        "half a document is written again",
        "intake formatting primary",
        "primary",
        {"formatting": Says('{"name":', finish="length"), "primary": Says('{"name": "Ada"}')},
        prompt="As JSON: name Ada.",
        attributes={"task": "formatting"},
        form=JSON,
    ),
    Way(
        "a validation says how sure it is",
        "intake validation",
        "validation",
        {"validation": Says("valid: it has two words.\nSURE: 0.95", sure=None)},
        attributes={"task": "validation"},
    ),
    Way(
        "reasoning is judged before it is served",
        "intake reasoning judge",
        "reasoning",
        {"reasoning": Says("At three."), "judge": Says("It follows.\nSCORE: 0.9")},
        attributes={"task": "reasoning"},
    ),
    Way(
        "and thrown away where it is not sound",
        "intake reasoning judge primary",
        "primary",
        {"reasoning": Says("At two."), "judge": Says("It does not.\nSCORE: 0.1"), "primary": Says("At three.")},
        attributes={"task": "reasoning"},
    ),
    Way(
        "what nobody sorts is reasoned about, and what nobody judges is not served",
        "intake sort reasoning judge primary",
        "primary",
        {"sort": DOWN, "reasoning": Says("Hm."), "judge": Says(status=500), "primary": Says("Paris.")},
    ),
]

PRESCREEN = [
    Way("what qualifies is paid for", "intake screen primary", "primary", {"screen": Says("Yes."), "primary": Says(LONG)}),
    Way("what does not is refused", "intake screen off_topic", "", {"screen": Says("No.")}),
    Way(
        "where the small model is unsure a better one looks",
        "intake screen second_look primary",
        "primary",
        {"screen": Says("No.", sure=0.6), "second_look": Says("Yes."), "primary": Says("Hm.")},
    ),
    Way(
        "and may refuse",
        "intake screen second_look off_topic",
        "",
        {"screen": Says("Yes.", sure=0.6), "second_look": Says("No.")},
    ),
    Way(
        "without any filter nothing is paid for",
        "intake screen second_look unscreened",
        "",
        {"screen": DOWN, "second_look": DOWN},
    ),
    Way("what is too long is not looked at", "intake too_long", "", {}, prompt="word, " * 2600),
    Way(
        "a primary that is down is told of",
        "intake screen primary sorry",
        "",
        {"screen": Says("Yes."), "primary": DOWN},
    ),
]

FRONT_DESK = [
    Way(
        "an easy question ends at a specialist",
        "screen intake sort reader",
        "reader",
        {"screen": Says("Yes."), "sort": Says("retrieval"), "reader": Says(LONG)},
        prompt=OPENING,
    ),
    Way(
        "what the specialist begins in doubt the large model ends",
        "screen intake sort reader primary",
        "primary",
        {
            "screen": Says("Yes."),
            "sort": Says("retrieval"),
            "reader": Says(LONG, sure=0.5, stalls_after=24),
            "primary": Says(LONG),
        },
        prompt=OPENING,
    ),
    Way(
        "a hard one goes there at once",
        "screen intake primary",
        "primary",
        {"screen": Says("Yes."), "primary": Says(LONG)},
        prompt=HARD,
    ),
    Way("what is nothing for the desk is refused", "screen off_topic", "", {"screen": Says("No.")}),
    Way(
        "with the filter down the desk stays open, and with the large model down something is said",
        "screen intake primary salvage brief",
        "brief",
        {"screen": DOWN, "primary": DOWN, "brief": Says("I am not sure.")},
        prompt=HARD,
        quick={"first: 200ms": "first: 2ms"},
    ),
    Way(
        "unless it must be right",
        "screen intake primary salvage sorry",
        "",
        {"screen": Says("Yes."), "primary": DOWN},
        attributes=STRICT,
        quick={"first: 200ms": "first: 2ms"},
    ),
    Way(
        "a slow endpoint is passed over for the other",
        "screen intake scribe",
        "scribe",
        {"screen": Says("Yes."), "scribe": (Says(stalls_after=0), Says("{}"))},
        attributes={"task": "formatting"},
        quick={"hedge: 3s": "hedge: 30ms"},
    ),
    Way(
        "a call that does not fit the caller's own limit is made by the small model",
        "screen intake primary brief",
        "brief",
        {"screen": Says("Yes."), "brief": Says("I am not sure.")},
        limits=Limits(cost_nano_usd=5_000_000),
        prompt=HARD,
    ),
]

GRAPHS = {
    "cascade": CASCADE,
    "classifier": CLASSIFIER,
    "specialists": SPECIALISTS,
    "prescreen": PRESCREEN,
    "front-desk": FRONT_DESK,
}
WAYS = {f"{graph}: {way.sentence}": (graph, way) for graph, ways in GRAPHS.items() for way in ways}


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
    with Shelf(tmp_path) as shelf:
        report = replay_all(shelf)

    assert (2, 2) == (report.total, report.unchanged)


# ---- what the models were sent --------------------------------------------------------------------------------------


async def test_json_mode_reaches_whom_it_is_meant_for(stage: Staged) -> None:
    """
    The format that a caller asks for reaches the scribe and the general model, and not the model that sorts.
    """
    says = {"sort": Says("formatting"), "formatting": Says("{", finish="length"), "primary": Says("{}")}
    async with stage("specialists", says) as on:
        await on.ask("Route", "As JSON, please.", form=JSON)

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
