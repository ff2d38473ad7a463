"""
The ways that requests go over the shipped patterns: easy, escalated, failing, and short of money or time.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk.model import Limits, Value
from meshwalk.trace import Message, ReplyOptions, ResponseFormat
from tests.acceptance.pattern_server import Says
from tests.acceptance.pattern_stage import Way


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
JSON = ReplyOptions(response_format=ResponseFormat("json_object"))
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
