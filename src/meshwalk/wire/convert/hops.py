"""
Hops, to the wire and from it.

Most of a hop's bytes are the edges that were considered when it was left, and those follow from the plan and the decision.  A
hop, and a reply with hops, is therefore made as a copy of a prototype, and only the fields that vary from walk to walk are set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from meshwalk.plan import Plan
from meshwalk.records.hops import VERDICTS as MARKED
from meshwalk.records.hops import Considered, Hop, HopStatus, PrefixVerdict
from meshwalk.records.templates import Template
from meshwalk.trace import Attempt, Basis, Decision, ScopeView, TemplateKey, Timing
from meshwalk.wire.convert.enums import (
    ATTEMPT_STATUSES,
    AWAY,
    BASES,
    ERROR_CLASSES,
    HOP_STATUSES,
    ROLES,
    SCOPES,
    SECTIONS,
    VERDICTS,
)
from meshwalk.wire.convert.values import (
    fill_usage,
    fill_values,
    fill_worst_case,
    pack_amount,
    pack_caps,
    pack_plan,
    pack_usage,
    unpack_amount,
    unpack_caps,
    unpack_usage,
    unpack_values,
    unpack_worst_case,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.gen.meshwalk.v1beta1 import traversal_pb2 as wire
from meshwalk.wire.types import Detail


_MARKS = {word: mark for mark, word in MARKED.items()}

# The most considered edges that the prototypes of one plan hold together: some megabytes at most, and far more than walks over
# graphs of a usual size ever differ in.
MAX_EDGES = 20_000

# The most templates of whole replies that are kept, which bounds their memory.
MAX_TEMPLATES = 500

_Message = TypeVar("_Message")


class Prototypes:
    """
    The repeated parts of messages about walks over *plan*: its names, its paths, and its hops as decisions leave them.

    A hop's prototype has its node, its role, its status, and its decision with every edge considered: there is one for each
    node and each row of verdicts that a decision there has come to.  A reply's prototype has those of all its hops, for each
    path that walks have taken.  A plan with many edges has many of both, so past `MAX_EDGES` considered edges in all a message
    is made from scratch, as the first of its kind always is.
    """

    __slots__ = ("_hops", "_replies", "_room", "_templates", "plan", "ref")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ref = pack_plan(plan)
        self._hops: dict[_PrototypeKey, wire.Hop] = {}
        self._replies: dict[tuple[_PrototypeKey, ...], routing.RouteResponse] = {}
        self._templates: dict[Detail, dict[TemplateKey | None, Template]] = {"NONE": {}, "HOPS": {}}
        self._room = MAX_EDGES

    @property
    def has_room_for_templates(self) -> bool:
        """
        Tell whether one more can be kept.
        """
        return sum(len(kept) for kept in self._templates.values()) < MAX_TEMPLATES

    def template(self, key: TemplateKey | None, detail: Detail) -> Template | None:
        """
        Return the template of replies about walks with this *key*, in this *detail* (not FULL), if there is one.
        """
        return self._templates[detail].get(key)

    def keep_template(self, key: TemplateKey, detail: Detail, template: Template) -> None:
        """
        Keep the template of replies about walks with this *key*.
        """
        self._templates[detail][key] = template

    def hop(self, hop: Hop) -> wire.Hop:
        """
        Return the prototype of *hop*, which is to be copied.
        """
        key = _prototype_key(hop)
        known = self._hops.get(key)

        return self._kept(self._hops, key, _made(hop), [hop]) if known is None else known

    def reply(self, hops: Sequence[Hop]) -> routing.RouteResponse:
        """
        Return the prototype of a reply whose record has *hops*, which is to be copied.
        """
        keys = tuple([_prototype_key(hop) for hop in hops])
        known = self._replies.get(keys)
        if known is None:
            path = [hop.node for hop in hops]
            record = wire.Traversal(plan=self.ref, path=path, hops=[self.hop(hop) for hop in hops])
            made = routing.RouteResponse(plan=self.ref, path=path, traversal=record)
            known = self._kept(self._replies, keys, made, hops)

        return known

    def _kept(self, among: dict[Any, _Message], key: object, made: _Message, hops: Sequence[Hop]) -> _Message:
        edges = sum(1 if hop.decision is None else 1 + len(hop.decision.verdicts) for hop in hops)
        if edges <= self._room:
            self._room -= edges
            among[key] = made

        return made


# The key of a hop's prototype: its node, its status, the basis of its cost, and its decision.
_PrototypeKey = tuple[str, HopStatus, Basis, tuple[object, ...]]


def _prototype_key(hop: Hop) -> _PrototypeKey:
    # A decision counts with its section, edge, target and verdicts; its hop and error class differ from walk to walk.
    return hop.node, hop.status, hop.basis, () if hop.decision is None else hop.decision[1:5]


def _made(hop: Hop) -> wire.Hop:
    return wire.Hop(
        visit=1,
        node=hop.node,
        role=ROLES.number[hop.role],
        status=HOP_STATUSES.number[hop.status],
        cost_basis=BASES.number[hop.basis],
        decision=None if hop.decision is None else pack_decision(hop.decision, hop.considered),
    )


def pack_hop(hop: Hop, prototypes: Prototypes, *, full: bool) -> wire.Hop:
    """
    Make a message of *hop*.

    Args:
        prototypes: Of the plan that was walked.
        full: With attempts and budget views.
    """
    message = wire.Hop()
    message.CopyFrom(prototypes.hop(hop))
    fill_hop(message, hop, full=full)

    return message


def fill_hop(message: wire.Hop, hop: Hop, *, full: bool) -> None:
    """
    Complete *message*, a copy of the prototype of *hop*, see `pack_hop`.
    """
    message.index = hop.index
    if hop.visit != 1:
        message.visit = hop.visit
    message.started_us = hop.started_us
    if any(hop.timing):
        message.queue_us, message.connect_us, message.first_byte_us = hop.timing
    message.latency_us = hop.latency_us
    message.engine_us = hop.engine_us
    message.cost_nano_usd = hop.cost_nano_usd
    fill_usage(message.usage, hop.usage)
    if hop.outputs:
        fill_values(message.outputs, hop.outputs)
    if hop.need is not None:
        message.reserved_nano_usd = hop.reserved_nano_usd
        fill_worst_case(message.worst_case, hop.need)
    if hop.error_class or hop.message or hop.scope:
        message.error_class, message.scope = ERROR_CLASSES.number[hop.error_class], SCOPES.number[hop.scope]
        message.message = hop.message
    if hop.budget_wait_us or hop.backoff_us:
        message.budget_wait_us, message.backoff_us = hop.budget_wait_us, hop.backoff_us
    if hop.prefix_verdict is not None:
        _fill_prefix_verdict(message.prefix_verdict, hop.prefix_verdict)
    if full:
        message.attempts.extend([_pack_attempt(attempt) for attempt in hop.attempts])
        message.views.extend([_pack_view(view) for view in hop.views])
        message.granted_views.extend([_pack_view(view) for view in hop.granted_views])


def unpack_hop(message: wire.Hop) -> Hop:
    """
    Read a hop.
    """
    hop = Hop(message.index, message.visit, message.node, ROLES.word(message.role), message.started_us)
    hop.status = HOP_STATUSES.word(message.status)
    hop.latency_us = message.latency_us
    hop.engine_us = message.engine_us
    hop.budget_wait_us = message.budget_wait_us
    hop.backoff_us = message.backoff_us
    hop.prefix_verdict = _unpack_prefix_verdict(message.prefix_verdict) if message.HasField("prefix_verdict") else None
    hop.scope = SCOPES.word(message.scope)
    hop.timing = Timing(message.queue_us, message.connect_us, message.first_byte_us)
    hop.attempts = tuple(_unpack_attempt(attempt) for attempt in message.attempts)
    hop.usage = unpack_usage(message.usage)
    hop.need = unpack_worst_case(message.worst_case) if message.HasField("worst_case") else None
    hop.cost_nano_usd = message.cost_nano_usd
    hop.basis = BASES.word(message.cost_basis)
    hop.outputs = unpack_values(message.outputs)
    hop.granted_views = tuple(_unpack_view(view) for view in message.granted_views)
    hop.views = tuple(_unpack_view(view) for view in message.views)
    hop.error_class = ERROR_CLASSES.word(message.error_class)
    hop.message = message.message
    hop.considered = unpack_considered(message.decision.considered)
    if message.HasField("decision"):
        hop.decision = _unpack_decision(message)
        hop.edge = hop.decision.to

    return hop


def _fill_prefix_verdict(message: wire.PrefixVerdict, prefix_verdict: PrefixVerdict) -> None:
    message.at_us, message.tokens, message.committed = prefix_verdict.at_us, prefix_verdict.tokens, prefix_verdict.committed
    fill_values(message.outputs, prefix_verdict.outputs)


def _unpack_prefix_verdict(message: wire.PrefixVerdict) -> PrefixVerdict:
    return PrefixVerdict(message.at_us, message.tokens, unpack_values(message.outputs), message.committed)


def pack_decision(decision: Decision, considered: Iterable[Considered]) -> wire.Decision:
    """
    Make a message of *decision*, with the edges it considered.
    """
    return wire.Decision(
        section=SECTIONS.number[decision.section],
        edge=None if decision.edge < 0 else decision.edge,
        to=decision.to,
        considered=[
            wire.ConsideredEdge(to=edge.to, guard=edge.guard, verdict=VERDICTS.number[edge.verdict]) for edge in considered
        ],
    )


def _unpack_decision(hop: wire.Hop) -> Decision:
    left = hop.decision
    section = SECTIONS.word(left.section)

    return Decision(
        hop=hop.index,
        section=section,
        edge=left.edge if left.HasField("edge") else -1,
        to=left.to,
        verdicts="".join(_MARKS[VERDICTS.word(edge.verdict)] for edge in left.considered),
        error_class=ERROR_CLASSES.word(hop.error_class) if section == "on_error" else "",
    )


def unpack_considered(messages: Iterable[wire.ConsideredEdge]) -> tuple[Considered, ...]:
    """
    Read the edges that a decision considered.
    """
    return tuple(Considered(edge.to, edge.guard, VERDICTS.word(edge.verdict)) for edge in messages)


def _pack_attempt(attempt: Attempt) -> wire.Attempt:
    return wire.Attempt(
        started_us=attempt.started_us,
        latency_us=attempt.latency_us,
        status=ATTEMPT_STATUSES.number[attempt.status],
        error_class=ERROR_CLASSES.number[attempt.error_class],
        **attempt.timing._asdict(),
        usage=pack_usage(attempt.usage),
        cost_basis=BASES.number[attempt.basis],
        budget_wait_us=attempt.waited_us,
        cache_age_us=attempt.cache_age_us,
        mended=attempt.mended,
        **{name: getattr(attempt, name) for name in _SAME},
    )


def _unpack_attempt(message: wire.Attempt) -> Attempt:
    return Attempt(
        started_us=message.started_us,
        latency_us=message.latency_us,
        status=ATTEMPT_STATUSES.word(message.status),
        error_class=ERROR_CLASSES.word(message.error_class),
        timing=Timing(message.queue_us, message.connect_us, message.first_byte_us),
        usage=unpack_usage(message.usage),
        basis=BASES.word(message.cost_basis),
        waited_us=message.budget_wait_us,
        cache_age_us=message.cache_age_us if message.HasField("cache_age_us") else None,
        mended=tuple(message.mended),
        **{name: getattr(message, name) for name in _SAME},
    )


# The fields of an attempt that have the same name and type on both sides.
_SAME = (
    "message", "reserved_nano_usd", "cost_nano_usd", "backend", "model", "finish_reason", "simulated", "span_id",
    "endpoint", "hedge", "backoff_us", "tokens_seen",
)  # fmt: skip


def _pack_view(view: ScopeView) -> wire.ScopeView:
    return wire.ScopeView(
        scope=SCOPES.number[view.scope],
        caps=pack_caps(view.caps),
        used=pack_amount(view.used),
        away=AWAY.number[view.away],
    )


def _unpack_view(message: wire.ScopeView) -> ScopeView:
    caps, used = unpack_caps(message.caps), unpack_amount(message.used)

    return ScopeView(SCOPES.word(message.scope), caps, used, AWAY.word(message.away))
