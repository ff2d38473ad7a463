"""
Drive walks for as long as nothing but the usual happens.

Most hops are granted at once, make one call, and are answered.  Those need nothing of what retries, hedges, gates and streams
need, and a `StraightWalk` tells it where to go.  Whatever else happens (a refusal, an error, a deadline, a caller that
goes away, or a node that is not plain) is the ordinary drive's: it is handed what happened so far and goes on from there, so
that there is one place for everything that can go wrong.
"""

from __future__ import annotations

from typing import Any

from anyio import get_cancelled_exc_class, move_on_after

from meshwalk import roles
from meshwalk.backends.base import Backend, ChatRequest, Classifier, Stations
from meshwalk.budgets import Need, Refusal
from meshwalk.engine.asking import Asker
from meshwalk.engine.calls import Ended
from meshwalk.engine.charge import charge
from meshwalk.engine.classify import classify
from meshwalk.engine.detour import Detour
from meshwalk.engine.drive import Drive
from meshwalk.engine.line import Line
from meshwalk.engine.purse import Purse, purse_of
from meshwalk.engine.results import Walked
from meshwalk.engine.trip import Trip
from meshwalk.engine.workshop import Workshop
from meshwalk.model import Amount, Value
from meshwalk.plan import NodePlan, Plan
from meshwalk.trace import Content, Denied, Replied, Reply, Timing, View, make_called
from meshwalk.walk import Course, StraightWalk


_NO_VIEWS: tuple[View, ...] = ()


class Post:
    """
    Hold what the engine needs at a node that straight walks may come to.

    Args:
        plain: Whether its hops can go straight.
    """

    __slots__ = (
        "ask",
        "attempt_us",
        "backend",
        "backend_name",
        "bound",
        "classifier",
        "compares",
        "least_us",
        "node",
        "own",
        "plain",
        "price",
        "read",
    )

    def __init__(self, node: NodePlan, shop: Workshop) -> None:
        own = node.node
        self.node = node
        self.backend_name = own.backend or ""
        self.backend: Backend | None = shop.backends[self.backend_name] if node.calls else None
        self.classifier: Classifier | None = None if node.calls else shop.classifiers.get(node.name)
        self.price = node.price
        self.bound = node.need
        self.attempt_us = own.attempt_timeout_us
        self.own = own
        self.ask = Asker(node)
        self.read = roles.READERS.get(own.role, roles.outputs_of)
        # Whether several answers are compared.
        self.compares = own.confidence is not None and own.confidence.source == "agreement"
        # With less time than this a call is not begun.
        self.least_us = max(1, own.min_time_us)
        self.plain = own.stream is None and own.hedge_us is None and not own.quotes and self.backend_name not in shop.gates
        if not node.calls and node.role != "classifier":
            # A verifier without a backend looks at what others said, and a refusal is nobody's to call.
            self.plain = False


class Express:
    """
    Drive straight walks over *plan*.
    """

    def __init__(self, plan: Plan, shop: Workshop) -> None:
        self.plan = plan
        self.shop = shop
        self.course = Course(plan)
        self.posts = tuple(Post(node, shop) for node in plan.nodes)
        # Where more counts than the walk's own limits, or guards read how those stand, a purse keeps the books.
        self.keeps_books = bool(plan.graph.budgets) or plan.reads_budget

    async def walk(self, trip: Trip) -> Walked:
        """
        Walk the request of *trip* to its end, straight as far as that goes.
        """
        purse: Purse | None = None
        views = _NO_VIEWS
        if self.keeps_books:
            purse = purse_of(self.plan, self.shop, trip)
            # Guards that are asked before the first reservation see the budgets as they stand now.
            if self.plan.looks_first:
                await purse.look()
            views = purse.views()
        ride = _Ride(self, trip, StraightWalk(self.course, trip.facts, trip.limits, views), purse)
        detour = await ride.go()
        if detour is not None:
            return await Drive(self.plan, self.shop, trip, None, None).resume(detour)
        if purse is not None:
            try:
                await purse.close()
            except get_cancelled_exc_class():
                # Only telling the vault was cut short.
                await purse.close()
                ride.recorded()
                raise

        return ride.recorded()


class _Ride:
    """
    Drive one walk.
    """

    __slots__ = ("_express", "_purse", "_replies", "_trip", "_walk")

    def __init__(self, express: Express, trip: Trip, walk: StraightWalk, purse: Purse | None) -> None:
        self._express = express
        self._trip = trip
        self._walk = walk
        self._purse = purse
        self._replies: dict[int, Reply] = {}

    async def go(self) -> Detour | None:
        """
        Go to the end of the walk; return where it is not straight, if it is not.
        """
        walk, trip, posts = self._walk, self._trip, self._express.posts
        while (stop := walk.stop) is not None:
            post = posts[stop.index]
            if not post.plain:
                return self._detour()
            if post.backend is not None:
                detour = await self._call(post, post.backend)
            elif post.classifier is not None:
                detour = await self._classify(post.node.name, post.classifier)
            else:
                outputs = self._features()
                if outputs is None:
                    return self._detour()
                walk.left(trip.now(), outputs, None)
                continue
            if detour is not None:
                return detour

        return None if walk.over else self._detour()

    def recorded(self) -> Walked:
        """
        Record the walk, which is over, and return what it came to.
        """
        express, trip, told = self._express, self._trip, self._walk.told()
        served = None if told.answer_hop is None else self._replies[told.answer_hop]
        answer = "" if served is None else served.text
        content = Content(trip.request.messages, answer) if express.plan.graph.recording.content else None
        traversal = trip.record(express.shop.source, told, content)
        express.shop.record(traversal)
        if served is None:
            return Walked(traversal)

        return Walked(traversal, answer, served.finish_reason, tool_calls=served.tool_calls)

    def _detour(self, **how: Any) -> Detour:
        return Detour(self._walk.told(), self._replies, self._purse, **how)

    # ---- hops that call nobody's model --------------------------------------------------------------------------

    def _features(self) -> dict[str, Value] | None:
        """
        Compute what the house's own classifier says; None if that fails, which it will once more where it is dealt with.
        """
        try:
            return self._express.shop.features(self._trip.request.messages)
        except Exception:  # noqa: BLE001 (they are pure, and an evaluation brings its own)
            return None

    async def _classify(self, node: str, classifier: Classifier) -> Detour | None:
        walk = self._walk
        try:
            entry = await classify(walk.hop, node, walk.deadline_at, classifier, self._trip)
        except get_cancelled_exc_class() as gone:
            return self._detour(raised=gone)
        if not isinstance(entry, Replied):
            return self._detour(entry=entry)
        walk.left(entry.at, entry.outputs, None)

        return None

    # ---- hops that do -------------------------------------------------------------------------------------------

    async def _call(self, post: Post, backend: Backend) -> Detour | None:
        """
        Reserve a call, make it and settle it.
        """
        walk, trip, purse, node = self._walk, self._trip, self._purse, post.node
        bound = post.bound(trip.facts)
        if not walk.affords(*bound):
            return self._detour()
        ticket, granted_views, views = 0, _NO_VIEWS, _NO_VIEWS
        if purse is not None:
            given = await self._reserve(node, purse, Need(*bound, 1, 1))
            if isinstance(given, Detour):
                return given
            ticket, granted_views = given, purse.views()
            if self._express.plan.reads_budget:
                walk.see(granted_views)
        called_at = trip.now()
        left_us = walk.deadline_at - called_at
        if left_us < post.least_us:
            return self._detour(line=Line(node, 0, ticket, Need(*bound, 1, 1)), granted_at=called_at)
        span_id, waits = trip.call_span_id(), backend.waits
        asked = post.ask(trip, trip.traceparent(span_id), Stations()) if waits else post.ask(trip, "", None)
        reply: Reply | None = None
        try:
            if not waits:
                reply = await backend.chat(asked)
            else:
                own_us = post.attempt_us
                with move_on_after((left_us if own_us is None else min(left_us, own_us)) / 1e6):
                    reply = await backend.chat(asked)
        except BaseException as error:  # noqa: BLE001 (the ordinary drive tells one from the other)
            ended = Ended(error=error)
        else:
            latency_us = trip.now() - called_at
            outputs = None if reply is None else self._read(post, reply)
            if reply is not None and outputs is not None:
                usage, cost_nano_usd, basis = charge(post.price, reply, asked.messages)
                if purse is not None:
                    spent = Amount(cost_nano_usd, usage.input_tokens, usage.output_tokens, 1, 1)
                    purse.settle(ticket, spent, assumed=False)
                    views = purse.views()
                    if self._express.plan.reads_budget:
                        walk.see(views)
                called = (
                    post.backend_name, called_at, latency_us, *bound, _timing(reply, asked) if waits else reply.timing, usage,
                    cost_nano_usd, basis, reply.model, reply.finish_reason, reply.simulated, reply.cache_age_us, span_id,
                    granted_views, views,
                )  # fmt: skip
                walk.left(trip.now(), outputs, make_called(called))
                return None
            ended = Ended(reply)
        line = Line(node, 0, ticket, Need(*bound, 1, 1))
        line.begin(called_at, span_id, asked)

        return self._detour(line=line, granted_at=called_at, ended=ended)

    def _read(self, post: Post, reply: Reply) -> dict[str, Value] | None:
        """
        Read the outputs off *reply* and keep it; None if that fails, which it will once more where it is dealt with.
        """
        try:
            if post.compares:
                reply = roles.settled(post.own, reply)
            outputs = post.read(post.own, reply)
        except Exception:  # noqa: BLE001 (a role is pure, but an author's pattern runs in it)
            return None
        self._replies[self._walk.hop] = reply

        return outputs

    async def _reserve(self, node: NodePlan, purse: Purse, need: Need) -> int | Detour:
        walk, trip = self._walk, self._trip
        deadline_at = walk.deadline_at
        try:
            # The walk itself has looked at its own limits.
            given = await purse.reserve_affordable(need, walk.path, deadline_at, deadline_at - node.node.min_time_us)
        except BaseException as error:  # noqa: BLE001 (the ordinary drive tells one from the other)
            return self._detour(raised=error)
        if isinstance(given, Refusal):
            waited_us, views = purse.waited_us, purse.views()
            denied = Denied(walk.hop, trip.now(), given.scope, given.message, views, given.contended, waited_us)
            return self._detour(entry=denied)
        if purse.waited_us:
            return self._detour(line=Line(node, 0, given, need), granted_at=trip.now())

        return given


def _timing(reply: Reply, asked: ChatRequest) -> Timing:
    stations = asked.stations
    if stations is not None and any(timing := stations.timing):
        return timing

    return reply.timing
