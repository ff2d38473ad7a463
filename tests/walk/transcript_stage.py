"""
Walks as transcripts that people read: commands, `----`, and what the walk answered.

A block is one command line, then `----`, then the walk's answer up to an empty line.  `pytest --rewrite` writes the
answers anew.

    walk FILE [cost_usd=… hops=… deadline=…s]    a new walk over a graph beside the transcript
    ask [bytes=…] [attribute=value …]            begin
    glimpse TOKENS [output=value …] [after=…s]   so much of a streamed reply is seen, and is like this
    reply [output=value …] [cost=USD] [after=…s] the hop under way succeeds
    stopped [cost=USD] [after=…s]                … or has been stopped, as the walk wished
    fail CLASS [cost=USD] [after=…s]             … or fails
    timeout [after=…s]  /  cancel [after=…s]     … or takes too long, or nobody waits for it

A ledger stands beside the walk: what it reserves is granted or denied as an engine would.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshwalk.budgets import REQUEST, usd
from meshwalk.guards.explain import explain
from meshwalk.loader import load_graph
from meshwalk.model import Amount, Limits, Value
from meshwalk.plan import EdgePlan, Plan, compile_plan
from meshwalk.trace import (
    Attempt,
    Began,
    Call,
    Cancelled,
    Closing,
    Commit,
    Decision,
    Denied,
    Entry,
    Facts,
    Failed,
    Finish,
    Granted,
    PrefixJudged,
    Replied,
    Reserve,
    Settle,
    StopCall,
    Stopped,
    TimedOut,
    Usage,
    Wish,
)
from tests.support.walks import OwnScope, WalkPair, need_of


class Stage:
    """
    Play a transcript's commands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan: Plan
        self._pair: WalkPair
        self._own: OwnScope
        self._limits = Limits()
        self._at = 0
        self._told = 0

    def play(self, command: str) -> str:
        """
        Carry out one command, and return what the walk answered.
        """
        verb, *words = command.split()
        lines = list(getattr(self, f"_{verb}")(words))

        return "\n".join(lines)

    # ---- commands -----------------------------------------------------------------------------------------------

    def _walk(self, words: list[str]) -> Iterator[str]:
        self._plan = compile_plan(load_graph(self._folder / words[0]))
        asked = _values(words[1:])
        own = self._plan.limits
        cost = asked.get("cost_usd")
        self._limits = Limits(
            hops=int(asked.get("hops", own.hops or 16)),
            deadline_us=_us(str(asked["deadline"])) if "deadline" in asked else own.deadline_us,
            cost_nano_usd=own.cost_nano_usd if cost is None else round(float(cost) * 1e9),
            output_tokens=own.output_tokens,
        )
        self._own = OwnScope(self._limits)
        self._pair = WalkPair(self._plan)
        self._at = self._told = 0
        yield repr(self._pair.live)

    def _ask(self, words: list[str]) -> Iterator[str]:
        asked = _values(words)
        size = int(asked.pop("bytes", 100))
        attributes = {"urgency": "interactive", "correctness": "standard", "task": "prose"} | asked
        facts = Facts(tuple(attributes.items()), size, 1)
        yield from self._feed(Began(0, facts, self._limits, self._own.views()))

    def _reply(self, words: list[str]) -> Iterator[str]:
        outputs = _values(words)
        attempts = self._attempts(outputs, "ok")
        yield from self._feed(Replied(self._pair.hop, self._at, outputs, attempts))

    def _glimpse(self, words: list[str]) -> Iterator[str]:
        outputs = _values(words[1:])
        self._at += _us(str(outputs.pop("after", "0s")))
        yield from self._feed(PrefixJudged(self._pair.hop, self._at, outputs, int(words[0])))

    def _stopped(self, words: list[str]) -> Iterator[str]:
        attempts = self._attempts(_values(words), "cancelled")
        yield from self._feed(Stopped(self._pair.hop, self._at, attempts))

    def _fail(self, words: list[str]) -> Iterator[str]:
        attempts = self._attempts(_values(words[1:]), "failed")
        failed: Any = words[0]
        yield from self._feed(Failed(self._pair.hop, self._at, failed, f"the backend said: {words[0]}", attempts))

    def _timeout(self, words: list[str]) -> Iterator[str]:
        attempts = self._attempts(_values(words), "timeout")
        yield from self._feed(TimedOut(self._pair.hop, self._at, "it took too long", attempts))

    def _cancel(self, words: list[str]) -> Iterator[str]:
        attempts = self._attempts(_values(words), "cancelled")
        yield from self._feed(Cancelled(self._pair.hop, self._at, attempts))

    def _attempts(self, values: dict[str, Value], status: Any) -> tuple[Attempt, ...]:
        began = self._at
        self._at += _us(str(values.pop("after", "0s")))
        cost = round(float(values.pop("cost", 0)) * 1e9)

        return (Attempt(began, self._at - began, status, usage=Usage(), cost_nano_usd=cost, basis="reported"),)

    # ---- the engine's part --------------------------------------------------------------------------------------

    def _feed(self, entry: Entry) -> Iterator[str]:
        wishes = self._pair.feed(entry)
        # All are settled before the next reservation is asked for.
        yield from [self._settle(wish, entry) for wish in wishes if isinstance(wish, Settle)]
        yield from self._decisions()
        for wish in wishes:
            if not isinstance(wish, Settle):
                yield self._worded(wish)
            if isinstance(wish, Reserve):
                yield from self._feed(self._verdict(wish))

    def _verdict(self, wish: Reserve) -> Granted | Denied:
        refusal = self._own.reserve(need_of(wish))
        views = self._own.views()
        if refusal:
            return Denied(wish.hop, self._at, REQUEST, refusal, views)

        return Granted(wish.hop, self._at, views)

    def _settle(self, wish: Settle, entry: Entry) -> str:
        assert isinstance(entry, Closing)
        cost = entry.attempts[-1].cost_nano_usd
        self._own.settle(Amount(cost, calls=1, hops=1))

        return _row("settle", self._pair.live.path[wish.hop], f"{usd(cost)} USD")

    # ---- words --------------------------------------------------------------------------------------------------

    def _decisions(self) -> Iterator[str]:
        decisions = self._pair.live.decisions
        for decision in decisions[self._told :]:
            yield from self._decision(decision)
        self._told = len(decisions)

    def _decision(self, decision: Decision) -> Iterator[str]:
        name = self._pair.live.path[decision.hop]
        node = self._plan.node(name)
        edges = node.next if decision.section == "next" else node.on_error
        for edge, verdict in zip(edges, decision.verdicts, strict=True):
            if verdict != "-":
                yield _row(name, f"→ {edge.edge.to}", self._reason(edge, verdict, decision))
        if decision.edge < 0:
            yield _row(name, "→", f"no edge for {decision.error_class or 'any way on'}")
        elif decision.to != edges[decision.edge].edge.to:
            yield _row(name, f"→ {decision.to}", "else")

    def _reason(self, edge: EdgePlan, verdict: str, decision: Decision) -> str:
        if verdict == "s":
            return "visits spent"
        if edge.checked is not None:
            return str(explain(edge.checked.tree, self._pair.live.value))
        if decision.section == "next":
            return "otherwise"

        return f"{decision.error_class}: {'taken' if verdict == 'y' else 'another class'}"

    def _worded(self, wish: Wish) -> str:
        match wish:
            case Reserve():
                bound = "unbounded" if wish.cost_nano_usd is None else f"up to {usd(wish.cost_nano_usd)} USD"
                return _row("reserve", wish.node, bound)
            case Call():
                return _row("call", wish.node, f"within {(wish.deadline_at_us - self._at) / 1e6:g} s")
            case Commit():
                return _row("commit", self._pair.live.path[wish.hop], "its reply is passed on as it comes")
            case StopCall():
                return _row("stop", self._pair.live.path[wish.hop], "what was seen sends the walk elsewhere")
            case Finish():
                hops = len(self._pair.live.path)
                said = f"{hops} hop{'' if hops == 1 else 's'}, {usd(self._own.used.cost_nano_usd)} USD"
                who = self._pair.live.path[wish.answer_hop] if wish.answer_hop is not None else wish.node
                because = f" ({wish.cause})" if wish.cause else ""
                return _row(wish.outcome.value + because, who, said) + (f"\n  {wish.message}" if wish.message else "")
            case _:
                raise AssertionError(wish)


def _row(first: str, second: str, rest: str) -> str:
    return f"{f'{first} {second}':22} {rest}".rstrip()


def _values(words: list[str]) -> dict[str, Any]:
    return {name: _value(text) for name, _, text in (word.partition("=") for word in words)}


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _us(text: str) -> int:
    return round(float(text.removesuffix("s")) * 1e6)


def replayed(path: Path) -> str:
    """
    Play the transcript in *path*, and return it with the answers as they are now.
    """
    stage = Stage(path.parent)
    said: list[str] = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        lines = block.splitlines()
        comments = [line for line in lines if line.startswith("#")]
        command = next((line for line in lines if not line.startswith("#")), None)
        rows = comments if command is None else [*comments, command, "----", stage.play(command)]
        said.append("\n".join(rows))

    return "\n\n".join(said) + "\n"
