"""
A graph with shared budgets, a vault that can be slow, away or forgetful, and the sums of the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import anyio
from anyio.lowlevel import checkpoint
from hypothesis import strategies as st

from meshwalk.backends.base import ChatRequest
from meshwalk.budgets import AccountReport, Answer, Balance, Reservation, Scope, Settlement
from meshwalk.budgets.vaults import Claim, MemoryVault, Vault
from meshwalk.engine import Engine, OnEvent
from meshwalk.model import Amount, Limits
from meshwalk.model.problems import BackendError, Malformed, Overloaded, Unreachable, VaultUnavailable
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.review.replay import replay
from meshwalk.trace import (
    Closing,
    Granted,
    Message,
    Reply,
    Request,
    Reserve,
    Scopes,
    Traversal,
    Usage,
    decode,
    encode,
)
from tests.support.plans import plan_of
from tests.support.random_plans import REASONS


NOTHING = Amount()

TEXT = """
meshwalk: 1
name: shared
start: small
request: {task: {type: string, default: any}}
thresholds: {confident: 0.8}
limits: {deadline: 10s}
budgets:
  session: {cost_usd: 0.01, calls: 6}
  workflow: {cost_usd: 0.02}
backends:
  little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
  great: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 10, output: 20}}
nodes:
  small:
    role: answer
    backend: little
    max_tokens: 100
    retries: 1
    deadline: 50ms
    confidence: {from: recorded}
    next:
      - {to: done, when: "output.confidence >= thresholds.confident"}
      - {to: sorry, when: "request.task == 'stop'"}
      - {to: large}
    on_error: [{class: [overloaded, timeout], to: large}]
  large: {role: primary, backend: great, max_tokens: 200, next: done}
  sorry: {role: refusal, reason: enough}
"""

# What "Hello there" needs at most: 11 bytes and 16 for its message; 100 or 200 tokens to write.
SMALL = Amount(227_000, 27, 100, 1, 1)
LARGE = Amount(4_270_000, 27, 200, 1, 1)

SURE = Reply("Paris", usage=Usage(10, 5), confidence=0.9)
UNSURE = Reply("Lyon?", usage=Usage(10, 5), confidence=0.2)
PARIS = Reply("Paris, on the Seine", usage=Usage(12, 50))

Step = Reply | Exception | None
Script = Sequence[Step]


def shared(*changes: tuple[str, str]) -> Plan:
    """
    Compile the graph, with some of its text changed.
    """
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)

    return plan_of(text)


PLAN = shared()


class Clock:
    """
    Tell a time that tests set, in microseconds since the Unix epoch.
    """

    def __init__(self) -> None:
        self.now = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now


class SlowVault(MemoryVault):
    """
    Keep books as a distant vault does: each call waits, is counted, and may not be answered.

    Attributes:
        calls: What was asked, in order.
        mode: `well`; `away`, when nothing is done; or `lost`, when it is done and the answer does not come.
        gate: Where calls wait before anything is done, if it is set; *back* is where they wait after.
    """

    waits = True
    poll_seconds = (0.005, 0.01)

    def __init__(self, clock_us: Callable[[], int] | None = None) -> None:
        super().__init__(clock_us or Clock())
        self.calls: list[str] = []
        self.mode = "well"
        self.gate: anyio.Event | None = None
        self.back: anyio.Event | None = None
        self.asked = anyio.Event()

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        await self._come("look")
        standings = await super().balances(scopes)
        await self._go(self.mode)

        return standings

    async def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        mode = self.mode
        await self._come("exchange")
        answer = await super().exchange(settlement, hold)
        await self._go(mode)

        return answer

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        await self._come("claim")

        return await super().claim(tenant, key, owner, fingerprint, lease_us)

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        await self._come("finish")
        await super().finish(tenant, key, owner, result, keep_us)

    async def _come(self, what: str) -> None:
        self.calls.append(what)
        self.asked.set()
        if self.mode == "away":
            raise VaultUnavailable("the fake vault is away")
        await (checkpoint() if self.gate is None else self.gate.wait())

    async def _go(self, mode: str) -> None:
        if mode == "lost":
            raise VaultUnavailable("the fake vault's answer was lost")
        await (checkpoint() if self.back is None else self.back.wait())


class Scripted:
    """
    Answer with what a script says, in order; an exception in it is raised, and None never comes back.
    """

    waits = True

    def __init__(self, *script: Step) -> None:
        self._script = list(script)
        self.asked = 0
        self.called = anyio.Event()
        self.gate: anyio.Event | None = None

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages
        self.asked += 1
        self.called.set()
        step = self._script.pop(0)
        await (checkpoint() if self.gate is None else self.gate.wait())
        if step is None:
            await anyio.sleep_forever()
        if isinstance(step, Exception):
            # The same is raised again and again, and would gather places.
            raise step.with_traceback(None)
        assert isinstance(step, Reply)

        return step

    async def aclose(self) -> None:
        pass


_USAGE = st.builds(Usage, *[st.integers(0, most) for most in (30, 60, 30, 60, 30)])
REPLIES = st.builds(
    lambda usage, reason, cost: Reply("yes", usage=usage, finish_reason=reason, cost_nano_usd=cost),
    st.none() | _USAGE,
    st.sampled_from(REASONS),
    st.none() | st.integers(0, 50_000),
)
_ERRORS: st.SearchStrategy[BackendError] = st.builds(
    lambda kind, billable: kind("no", backend="b", billable=billable),
    st.sampled_from([Overloaded, Unreachable, Malformed]),
    st.booleans(),
)
STEPS: st.SearchStrategy[Step] = st.one_of(REPLIES, REPLIES, _ERRORS, st.just(RuntimeError("boom")))


class Drawn:
    """
    Do what is drawn for each call, after so many turns of the loop as are drawn with it.
    """

    waits = True

    def __init__(self, script: list[tuple[int, Step]]) -> None:
        self._script = script
        self._next = 0

    async def chat(self, request: ChatRequest) -> Reply:
        assert request.messages
        turns, step = self._script[self._next % len(self._script)]
        self._next += 1
        for _ in range(turns):
            await checkpoint()
        if isinstance(step, Exception):
            # The same is raised again and again, and would gather places.
            raise step.with_traceback(None)
        assert isinstance(step, Reply)

        return step

    async def aclose(self) -> None:
        pass


class Bench:
    """
    Walk requests of *plan* with scripted backends over *vault*, and keep the records.
    """

    def __init__(self, plan: Plan = PLAN, little: Script = (), great: Script = (), vault: Vault | None = None) -> None:
        self.plan = plan
        self.vault = vault or MemoryVault()
        self.little, self.great = Scripted(*little), Scripted(*great)
        self.records: list[Traversal] = []
        backends = {"little": self.little, "great": self.great}
        self.engine = Engine(plan, backends, self.records.append, vault=self.vault)

    async def walk(self, request: Request | None = None, observe: OnEvent | None = None) -> RouteResult:
        return await self.engine.walk(request or asking(), observe)

    async def statement(self, kind: str = "session", name: str = "s") -> AccountReport:
        """
        Return the one account of a scope.
        """
        (statement,) = [one for one in await self.vault.reports("default") if (one.kind, one.name) == (kind, name)]

        return statement

    async def settled(self) -> Amount:
        """
        Return what the session spent, having checked all that holds of books when no walk is under way.
        """
        spent, assumed = totals(self.records)
        for statement in await self.vault.reports("default"):
            assert (NOTHING, 0) == (statement.reserved, statement.reservations)
            assert (spent, assumed) == (statement.spent, statement.assumed)
        for record in self.records:
            assert replay(decode(encode(record)), self.plan) is None

        return spent


def asking(*, limits: Limits = Limits(), session: str = "s", workflow: str = "w", key: str = "", task: str = "") -> Request:
    """
    Ask within the session `s` and the workflow `w`, or others.
    """
    return Request(
        (Message("user", "Hello there"),),
        attributes={"task": task} if task else {},
        scopes=Scopes(session, workflow),
        limits=limits,
        idempotency_key=key,
    )


def plus(*amounts: Amount) -> Amount:
    """
    Add amounts up.
    """
    return Amount._make(map(sum, zip(NOTHING, *amounts, strict=True)))


def totals(records: Iterable[Traversal]) -> tuple[Amount, Amount]:
    """
    Add up what *records* say was spent, and how much of it is assumed: such a call is charged whole.
    """
    spent, assumed = NOTHING, NOTHING
    for record in records:
        need = NOTHING
        counted = True
        for entry, wishes in record.steps:
            if isinstance(entry, Granted):
                counted = False
            if isinstance(entry, Closing):
                for attempt in entry.attempts:
                    if attempt.status == "denied":
                        continue
                    tokens = need[1:3] if attempt.basis == "assumed" else attempt.usage[:2]
                    # A hop counts with its first call.
                    call = Amount(attempt.cost_nano_usd, *tokens, calls=1, hops=int(not counted))
                    counted = True
                    spent = plus(spent, call)
                    if attempt.basis == "assumed":
                        assumed = plus(assumed, call)
                if not counted:
                    counted, spent = True, plus(spent, Amount(hops=1))
            for wish in wishes:
                if isinstance(wish, Reserve):
                    need = Amount(wish.cost_nano_usd or 0, wish.input_tokens, wish.output_tokens or 0, wish.calls, wish.hops)

    return spent, assumed
