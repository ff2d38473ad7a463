"""
One traversal as a tree of ended spans.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from meshwalk.model import AnyBackendSpec, CacheSpec, OpenAISpec, RecordedSpec, Value
from meshwalk.plan import Plan
from meshwalk.records.hops import Hop, hops_of
from meshwalk.records.telemetry import names
from meshwalk.trace import Attempt, Outcome, Timing, Traversal, Usage


Attributes = dict[str, str | bool | int | float | list[str]]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status()
_ERROR = Status(StatusCode.ERROR)

# The names of providers in the GenAI conventions; any endpoint that speaks OpenAI's protocol counts as OpenAI.
_PROVIDERS: Mapping[str, str] = {"OpenAISpec": "openai"}

# The only text output with a closed set of values; the others may contain text of a reply.
_SAFE_TEXT = frozenset({"finish_reason"})


def caller_of(traversal: Traversal) -> SpanContext | None:
    """
    Return the caller's span, or None where the walk started its trace.
    """
    if not traversal.parent_span_id:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if traversal.sampled else TraceFlags.DEFAULT)

    return SpanContext(int(traversal.trace_id, 16), int(traversal.parent_span_id, 16), is_remote=True, trace_flags=flags)


def route_attributes(traversal: Traversal) -> Attributes:
    """
    Return the attributes of the span of the whole walk.
    """
    facts = traversal.facts
    requested, scopes = dict(facts.attributes), facts.scopes
    usage = traversal.usage
    attributes: Attributes = {
        names.TRAVERSAL_ID: traversal.traversal_id,
        names.GRAPH: traversal.graph,
        names.PLAN_DIGEST: traversal.plan_digest,
        names.SHAPE_DIGEST: traversal.shape_digest,
        names.OUTCOME: traversal.outcome.value,
        names.PATH: traversal.path,
        names.COST_USD: traversal.cost_usd,
        names.COST_BASIS: traversal.basis,
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        names.ENGINE_US: traversal.engine_us,
        names.URGENCY: requested["urgency"],
        names.CORRECTNESS: requested["correctness"],
    }
    optional = {
        names.VERSION: traversal.version,
        names.PRICES: traversal.prices,
        names.SESSION: scopes.session,
        names.WORKFLOW: scopes.workflow,
        names.TENANT: scopes.tenant,
        names.ANSWER_NODE: traversal.answer_node,
        names.ERROR_TYPE: _error_of(traversal),
    }

    # Attributes of walks that waited for a budget, or spent while the vault was unavailable.
    rare = {names.BUDGET_WAIT_US: traversal.budget_wait_us, names.SLACK_USD: traversal.slack_nano_usd / 1e9}

    return attributes | {name: value for name, value in (optional | rare).items() if value} | _details(usage)


class SpanTree:
    """
    The spans of *traversal*.

    Args:
        attributes: Those of the span of the whole walk.
    """

    def __init__(
        self,
        traversal: Traversal,
        plan: Plan,
        *,
        attributes: Attributes,
        resource: Resource,
        scope: InstrumentationScope,
        trace_state: TraceState | None = None,
    ) -> None:
        self._traversal = traversal
        self._plan = plan
        self._attributes = attributes
        self._resource = resource
        self._scope = scope
        self._trace_state = trace_state
        self._trace_id = int(traversal.trace_id, 16)

    def spans(self) -> Iterator[ReadableSpan]:
        """
        Yield each span once, parents first.
        """
        traversal = self._traversal
        root = self._context(int(traversal.span_id, 16))
        yield self._span(
            names.ROUTE,
            root,
            caller_of(traversal),
            (0, traversal.latency_us),
            self._attributes,
            kind=SpanKind.SERVER,
            status=_route_status(traversal),
        )
        for hop in hops_of(traversal, self._plan):
            yield from self._hop(hop, root)

    def _hop(self, hop: Hop, root: SpanContext) -> Iterator[ReadableSpan]:
        # Zero is no id, and one in 2⁶⁴ is.
        context = self._context(random.getrandbits(64) or 1)
        denied = [attempt for attempt in hop.attempts if attempt.status == "denied"]
        attributes = _hop_attributes(hop)
        yield self._span(
            names.HOP,
            context,
            root,
            (hop.started_us, hop.latency_us),
            attributes,
            status=_ERROR if names.ERROR_TYPE in attributes else _UNSET,
            events=[*self._judgement(hop), *(self._denial(attempt) for attempt in denied)],
        )
        for number, attempt in enumerate(hop.attempts):
            if attempt.status != "denied":
                yield self._attempt(hop, number, attempt, context)

    def _attempt(self, hop: Hop, number: int, attempt: Attempt, parent: SpanContext) -> ReadableSpan:
        spec = self._plan.graph.backends[attempt.backend]
        if isinstance(spec, CacheSpec):
            # The reply is the model's behind it, whenever that made it.
            spec = self._plan.graph.backends[spec.of]
        model = _model_of(spec)
        attributes: Attributes = {
            names.OPERATION: names.CHAT,
            names.PROVIDER: _PROVIDERS.get(type(spec).__name__, "meshwalk"),
            names.REQUEST_MODEL: model,
            names.NODE: hop.node,
            names.ATTEMPT: number,
        }
        attributes |= _attempt_attributes(attempt)
        if attempt.status != "ok" and not _unwanted(hop, attempt):
            attributes[names.ERROR_TYPE] = attempt.error_class or attempt.status
        max_tokens = self._plan.node(hop.node).max_tokens(self._traversal.facts.sampling.max_tokens)
        if max_tokens is not None:
            attributes[names.REQUEST_MAX_TOKENS] = max_tokens

        return self._span(
            f"{names.CHAT} {model}",
            self._context(int(attempt.span_id, 16)),
            parent,
            (attempt.started_us, attempt.latency_us),
            attributes,
            kind=SpanKind.CLIENT,
            status=_UNSET if attempt.status == "ok" or _unwanted(hop, attempt) else _ERROR,
        )

    def _judgement(self, hop: Hop) -> Iterator[Event]:
        prefix_verdict = hop.prefix_verdict
        if prefix_verdict is not None:
            name = names.COMMITTED if prefix_verdict.committed else names.STOPPED
            yield Event(name, {names.TOKENS_SEEN: prefix_verdict.tokens}, self._ns(prefix_verdict.at_us))

    def _denial(self, attempt: Attempt) -> Event:
        attributes = {names.BACKEND: attempt.backend, names.ERROR_TYPE: attempt.error_class}

        return Event(names.DENIED, attributes, self._ns(attempt.started_us))

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        time: tuple[int, int],
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        status: Status = _UNSET,
        events: list[Event] | None = None,
    ) -> ReadableSpan:
        started_us, latency_us = time

        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            events or (),
            kind=kind,
            status=status,
            start_time=self._ns(started_us),
            end_time=self._ns(started_us + latency_us),
            instrumentation_scope=self._scope,
        )

    def _context(self, span_id: int) -> SpanContext:
        return SpanContext(self._trace_id, span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=self._trace_state)

    def _ns(self, at: int) -> int:
        return (self._traversal.began_unix_us + at) * 1_000


def _error_of(traversal: Traversal) -> str:
    finish = traversal.finish

    return "cancelled" if finish.outcome is Outcome.CANCELLED else finish.cause


def _route_status(traversal: Traversal) -> Status:
    finish = traversal.finish
    match finish.outcome:
        case Outcome.FAILED:
            return Status(StatusCode.ERROR, f"{finish.cause} at node '{finish.node}'")
        case Outcome.CANCELLED:
            return _ERROR
        case _:
            # A refusal is what the graph decided, and no error.
            return _UNSET


def _hop_attributes(hop: Hop) -> Attributes:
    attributes: Attributes = {
        names.HOP_INDEX: hop.index,
        names.NODE: hop.node,
        names.ROLE: hop.role,
        names.VISIT: hop.visit,
        names.STATUS: hop.status,
        names.ENGINE_US: hop.engine_us,
    }
    if hop.considered:
        attributes[names.CONSIDERED] = [f"{edge.to}: {edge.verdict}" for edge in hop.considered]
    if hop.edge:
        attributes[names.EDGE] = hop.edge
    if hop.scope:
        attributes[names.SCOPE] = hop.scope
    if hop.budget_wait_us:
        attributes[names.BUDGET_WAIT_US] = hop.budget_wait_us
    if hop.backoff_us:
        attributes[names.BACKOFF_US] = hop.backoff_us
    if error := hop.error_class or ("cancelled" if hop.status == "cancelled" else ""):
        attributes[names.ERROR_TYPE] = error
    if hop.attempts:
        attributes |= _spent(hop.cost_nano_usd, hop.basis, hop.reserved_nano_usd) | _split(hop.timing)
        attributes[names.INPUT_TOKENS] = hop.usage.input_tokens
        attributes[names.OUTPUT_TOKENS] = hop.usage.output_tokens
        attributes |= _details(hop.usage)

    return attributes | {names.OUTPUT + name: value for name, value in hop.outputs.items() if _safe(name, value)}


def _details(usage: Usage, cached: str = names.CACHED_TOKENS, reasoning: str = names.REASONING_TOKENS) -> Attributes:
    """
    Return the counts of cached input tokens and of reasoning tokens, each where it is above 0.
    """
    details = {cached: usage.cached_input_tokens, reasoning: usage.reasoning_tokens}

    return {name: tokens for name, tokens in details.items() if tokens}


def _safe(name: str, value: Value) -> bool:
    return not isinstance(value, str) or name in _SAFE_TEXT


def _unwanted(hop: Hop, attempt: Attempt) -> bool:
    """
    Tell whether *attempt* was ended because the walk had no more use for it, which is no fault of anybody.
    """
    return attempt.status == "cancelled" and hop.status != "cancelled"


def _attempt_attributes(attempt: Attempt) -> Attributes:
    attributes: Attributes = {
        names.BACKEND: attempt.backend,
        names.STATUS: attempt.status,
        names.SIMULATED: attempt.simulated,
        names.USAGE_INPUT: attempt.usage.input_tokens,
        names.USAGE_OUTPUT: attempt.usage.output_tokens,
    }
    attributes |= _spent(attempt.cost_nano_usd, attempt.basis, attempt.reserved_nano_usd) | _split(attempt.timing)
    attributes |= _details(attempt.usage, names.USAGE_CACHED, names.USAGE_REASONING)
    if attempt.model:
        attributes[names.RESPONSE_MODEL] = attempt.model
    if attempt.finish_reason:
        attributes[names.FINISH_REASONS] = [attempt.finish_reason]
    # Attributes that only some calls have.
    rare: Attributes = {
        names.ENDPOINT: attempt.endpoint,
        names.HEDGE: attempt.hedge,
        names.BACKOFF_US: attempt.backoff_us,
        names.TOKENS_SEEN: attempt.tokens_seen,
    }
    attributes |= {name: value for name, value in rare.items() if value}
    if attempt.cache_age_us is not None:
        attributes[names.CACHE_AGE_US] = attempt.cache_age_us
    if attempt.mended:
        attributes[names.MENDED] = list(attempt.mended)
    if attempt.cost_nano_usd > attempt.reserved_nano_usd > 0:
        attributes[names.OVERRUN_USD] = (attempt.cost_nano_usd - attempt.reserved_nano_usd) / 1e9

    return attributes


def _spent(cost_nano_usd: int, basis: str, reserved_nano_usd: int) -> Attributes:
    return {
        names.COST_USD: cost_nano_usd / 1e9,
        names.COST_BASIS: basis,
        names.RESERVED_USD: reserved_nano_usd / 1e9,
    }


def _split(timing: Timing) -> Attributes:
    return {
        names.QUEUE_US: timing.queue_us,
        names.CONNECT_US: timing.connect_us,
        names.FIRST_BYTE_US: timing.first_byte_us,
    }


def _model_of(spec: AnyBackendSpec) -> str:
    # A local model is a path on this machine, and pretended ones have no model at all: the backend's name says more.
    return spec.model if isinstance(spec, OpenAISpec | RecordedSpec) else spec.name
