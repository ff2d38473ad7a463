"""
One call of a hop, from the reservation to its line in the record.
"""

from __future__ import annotations

from typing import Any

from meshwalk.backends.base import CallProgress, ChatRequest
from meshwalk.budgets import Need
from meshwalk.engine.charge import broken_off, charge
from meshwalk.model import Amount
from meshwalk.model.problems import ErrorClass
from meshwalk.plan import NodePlan
from meshwalk.trace import Attempt, AttemptStatus, Basis, Piece, Reply, TokenProbabilities, Usage


_NOTHING_SENT = ChatRequest(())

# The mark, in a record, of a call whose input was more than its bound.
INPUT_OVERRUN = "input_overrun"


class CallState:
    """
    One call under way, and its end.

    Args:
        reservation_id: The id of its reservation in the walk's budget.
        need: Its worst case, which is reserved.

    Attributes:
        scope: The scope that cancels it, if it may have to be cancelled.
        attempt: Its line in the record, once it has ended.
        spent: The amount it is settled at, and whether that is assumed.
        seen: The text that has arrived of a streamed reply.
        final: Whether a further call would end in the same way for a long while.
        at_fault: Whether its endpoint is at fault, and not the request.
        ends_at: When its scope ends it at the latest, on the event loop's clock; its stream may have to bring something before.
        stalled: The words for a stream that brings nothing in time; empty while nothing but *ends_at* bounds it.
        turned_away: Whether its backend's limiter did not let it in.
    """

    __slots__ = (
        "at_fault",
        "attempt",
        "backoff_us",
        "endpoint",
        "ends_at",
        "error_class",
        "final",
        "hedge",
        "margins",
        "message",
        "need",
        "node",
        "number",
        "probabilities",
        "progress",
        "reply",
        "request",
        "reservation_id",
        "retry_after_us",
        "scope",
        "seen",
        "span_id",
        "spent",
        "stalled",
        "started_us",
        "tokens",
        "turned_away",
        "waited_us",
    )  # fmt: skip

    def __init__(self, node: NodePlan, number: int, reservation_id: int, need: Need) -> None:
        self.node = node
        self.number = number
        self.reservation_id = reservation_id
        self.need = need
        self.hedge = False
        self.backoff_us = 0
        self.waited_us = 0
        self.started_us = 0
        self.span_id = ""
        self.endpoint = ""
        self.progress = CallProgress()
        self.request: ChatRequest | None = None
        self.scope: Any = None
        self.reply: Reply | None = None
        self.error_class: ErrorClass | None = None
        self.message = ""
        self.turned_away = False
        self.retry_after_us: int | None = None
        self.final = self.at_fault = False
        self.ends_at = 0.0
        self.stalled = ""
        self.attempt: Attempt | None = None
        self.spent = (Amount(hops=need.hops or 0), False)
        self.seen: list[str] = []
        self.tokens = 0
        self.probabilities: list[float] = []
        self.margins: list[float] = []

    @property
    def under_way(self) -> bool:
        """
        Tell whether it has begun and not ended.
        """
        return self.attempt is None and bool(self.span_id)

    @property
    def max_tokens(self) -> int:
        """
        Return the most tokens that it may need, sent and received.
        """
        return (self.need.input_tokens or 0) + (self.need.output_tokens or 0)

    # ---- a streamed reply -------------------------------------------------------------------------------------------

    def hear(self, piece: Piece) -> None:
        """
        Take a piece of the reply.
        """
        self.seen.append(piece.text)
        self.tokens += piece.tokens
        self.probabilities += piece.probabilities
        self.margins += piece.margins

    @property
    def text(self) -> str:
        """
        Return what has arrived of a streamed reply.
        """
        return "".join(self.seen)

    def so_far(self) -> Reply:
        """
        Return the pieces that have arrived, as a reply that can be judged.
        """
        chosen, margins = self.probabilities, self.margins
        summary = None
        if chosen:
            margin = sum(margins) / len(margins) if margins else None
            summary = TokenProbabilities(sum(chosen) / len(chosen), min(chosen), margin)

        return Reply(self.text, finish_reason="", usage=Usage(0, self.tokens), probabilities=summary)

    def begin(self, now: int, span_id: str, request: ChatRequest) -> None:
        """
        Begin with *request*, which is being sent.
        """
        self.started_us, self.span_id, self.request = now, span_id, request
        if request.progress is not None:
            self.progress = request.progress

    # ---- how it ended -----------------------------------------------------------------------------------------------

    def worked(self, now: int, reply: Reply) -> None:
        """
        End with *reply*.
        """
        self.reply = reply
        usage, cost, basis = charge(self.node.price, reply, self.request or _NOTHING_SENT)
        self._note(now, "ok", usage=usage, cost=cost, basis=basis)

    def _overrun(self, reply: Reply) -> tuple[str, ...]:
        """
        Name the bound of input that *reply* shows not to hold, if there is one.
        """
        bound, usage = self.need.input_tokens, reply.usage

        return (INPUT_OVERRUN,) if bound is not None and usage is not None and usage.input_tokens > bound else ()

    def failed(self, now: int, status: AttemptStatus, error_class: ErrorClass | None, message: str, *, billable: bool) -> None:
        """
        End without a reply that can be used.

        Args:
            billable: Whether the provider may have worked for it.
        """
        self.error_class, self.message = error_class, message
        if not billable or not self.progress.sent:
            self._note(now, status)
        elif self.tokens or self.progress.usage is not None:
            # Streamed tokens were counted, so their cost is estimated; a cost without any answer is assumed.
            usage = broken_off(self.request or _NOTHING_SENT, self.progress, self.tokens, self.need.output_tokens)
            price = self.node.price
            cost = 0 if price is None else price.cost(*usage)
            self._note(now, status, usage=usage, cost=cost, basis="unpriced" if price is None else self._certainty)
        else:
            self._note(now, status, cost=self.need.cost_nano_usd or 0, basis="assumed")

    def denied(self, now: int, message: str) -> None:
        """
        End before it began, as the ledger did not grant it.
        """
        self.error_class, self.message = "budget", message
        self.started_us, self.span_id, self.need = now, "", Need(0)
        self._note(now, "denied")

    @property
    def _certainty(self) -> Basis:
        progress = self.progress

        return "estimated" if progress.usage is None or progress.estimated else "reported"

    def _note(self, now: int, status: AttemptStatus, *, usage: Usage = Usage(), cost: int = 0, basis: Basis = "none") -> None:
        reply, progress = self.reply, self.progress
        timing = progress.timing
        if reply is not None and not any(timing):
            timing = reply.timing
        self.attempt = Attempt(
            started_us=self.started_us,
            latency_us=now - self.started_us,
            status=status,
            timing=timing,
            error_class=self.error_class or "",
            message=self.message,
            usage=usage,
            reserved_nano_usd=self.need.cost_nano_usd or 0,
            cost_nano_usd=cost,
            basis=basis,
            backend=self.node.node.backend or "",
            model=reply.model if reply else "",
            finish_reason=reply.finish_reason if reply else "",
            simulated=reply.simulated if reply else False,
            span_id=self.span_id,
            waited_us=self.waited_us,
            endpoint=self.endpoint,
            hedge=self.hedge,
            backoff_us=self.backoff_us,
            cache_age_us=reply.cache_age_us if reply else None,
            tokens_seen=self.tokens if reply is None else 0,
            mended=reply.mended + self._overrun(reply) if reply else (),
        )
        hops = self.need.hops or 0
        if basis == "assumed":
            # A call that was sent and never answered is charged at its worst, tokens too.
            self.spent = self.need.amount._replace(cost_nano_usd=cost), True
        elif status != "denied":
            self.spent = Amount(cost, usage.input_tokens, usage.output_tokens, calls=1, hops=hops), False
