"""
A live walk beside its replayed twin, and the budget of one walk alone.
"""

from __future__ import annotations

from meshwalk.budgets import REQUEST, Account, Need, SpendPath, refusal_of
from meshwalk.model import Amount, Caps, Limits, Value
from meshwalk.plan import Plan
from meshwalk.trace import (
    Attempt,
    Began,
    Denied,
    Entry,
    Facts,
    Finish,
    FullTrace,
    Granted,
    Replied,
    Reserve,
    ScopeView,
    Source,
    Traversal,
    Wish,
    decode,
    encode,
)
from meshwalk.walk import Walk


NO_LIMITS = Limits(hops=16, deadline_us=30_000_000)


def began(limits: Limits = NO_LIMITS, *, input_bytes: int = 100, **attributes: Value) -> Began:
    """
    Start a walk at time 0; the built-in attributes have their defaults.
    """
    facts = {"urgency": "interactive", "correctness": "standard"} | attributes

    return Began(0, Facts(tuple(facts.items()), input_bytes, 1), limits, OwnScope(limits).views())


class OwnScope:
    """
    Keep the budget of one walk alone, as the engine does.
    """

    def __init__(self, limits: Limits) -> None:
        self._caps = Caps(limits.cost_nano_usd, limits.input_tokens, limits.output_tokens, limits.calls)
        self._account = Account()
        self._held: Need | None = None

    def reserve(self, need: Need) -> str:
        """
        Hold *need*; return why not if it does not fit.
        """
        refusal = refusal_of(need, (REQUEST,), (self._account.balance(self._caps),))
        if refusal is not None:
            return refusal.message
        self._account.reserve(need.amount)
        self._held = need

        return ""

    def settle(self, spent: Amount) -> None:
        """
        Replace what is held, if anything is.
        """
        if self._held is not None:
            self._account.settle(self._held.amount, spent, SpendPath(), bounded=(True,) * 5, assumed=False)
            self._held = None

    @property
    def used(self) -> Amount:
        """
        Return what is spent and held.
        """
        return self._account.balance(self._caps).used

    def views(self) -> tuple[ScopeView, ...]:
        """
        Show it as an entry does.
        """
        return (ScopeView(REQUEST, self._caps, self.used),)


def traversal_of(steps: list[tuple[Entry, tuple[Wish, ...]]], walk: Walk) -> Traversal:
    """
    Wrap what a walk did as a record.
    """
    plan = walk.plan

    return Traversal(
        Source(plan.name, "", plan.plan_digest, plan.shape_digest),
        traversal_id="0" * 32,
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_span_id="",
        sampled=True,
        began_unix_us=1_800_000_000_000_000,
        trace=FullTrace(walk.path, steps, walk.decisions),
    )


class WalkPair:
    """
    Feed a live walk, and a twin that is fed the live one's record after a trip through the codec.

    Every scenario thereby tests replay: the twin must want, decide and go as the live walk did.
    """

    def __init__(self, plan: Plan) -> None:
        self.live = Walk(plan)
        self.twin = Walk(plan)
        self.steps: list[tuple[Entry, tuple[Wish, ...]]] = []

    def feed(self, entry: Entry) -> tuple[Wish, ...]:
        wishes = self.live.feed(entry)
        self.steps.append((entry, wishes))
        copied = decode(encode(traversal_of(self.steps, self.live)))
        recorded, recorded_wishes = copied.steps[-1]

        assert wishes == recorded_wishes
        assert wishes == self.twin.feed(recorded)
        assert (self.live.path, self.live.decisions) == (self.twin.path, self.twin.decisions)
        assert copied.decisions == self.live.decisions

        return wishes

    @property
    def finish(self) -> Finish:
        """
        Return how the walk ended.
        """
        wish = self.steps[-1][1][-1]
        assert isinstance(wish, Finish)

        return wish

    def grant(self, at: int = 0) -> tuple[Wish, ...]:
        """
        Grant what the walk asked for last.
        """
        return self.feed(Granted(self.hop, at, (ScopeView(REQUEST),)))

    def deny(self, at: int = 0, message: str = "may cost too much") -> tuple[Wish, ...]:
        """
        Deny what the walk asked for last.
        """
        return self.feed(Denied(self.hop, at, REQUEST, message, (ScopeView(REQUEST),)))

    def reply(self, at: int = 0, **outputs: Value) -> tuple[Wish, ...]:
        """
        Let the hop under way succeed, granting its reservation first if it waits for one.
        """
        if isinstance(self.steps[-1][1][-1], Reserve):
            self.grant(at)

        return self.feed(Replied(self.hop, at, outputs, (Attempt(at, 0, "ok"),)))

    @property
    def hop(self) -> int:
        """
        Return the id of the hop under way.
        """
        return len(self.live.path) - 1


def need_of(wish: Wish) -> Need:
    """
    Return what a `Reserve` asks for.
    """
    assert isinstance(wish, Reserve)

    return Need(wish.cost_nano_usd, wish.input_tokens, wish.output_tokens, wish.calls, wish.hops)
