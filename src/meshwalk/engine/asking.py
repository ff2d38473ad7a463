"""
What a node's call sends.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk import prompts
from meshwalk.backends.base import ChatRequest, Stations
from meshwalk.engine.trip import Trip
from meshwalk.model import Sampling
from meshwalk.plan import NodePlan
from meshwalk.trace import Form


_UNSET = Sampling()
_NO_FORM = Form()
_FROM_PROBABILITIES = frozenset({"mean_token_probability", "min_token_probability", "margin"})


def chat_request(
    node: NodePlan, trip: Trip, span_id: str, stations: Stations | None, answers: Mapping[str, str]
) -> ChatRequest:
    """
    Return what is sent for the call of *node* whose span is *span_id*.

    Args:
        answers: The texts of earlier nodes that its prompt quotes.
    """
    own, request = node.node, trip.request
    messages, form = request.messages, request.form
    if own.prompt is not None:
        # What a node asks of its own needs none of the caller's tools and formats.
        messages = prompts.render(own.prompt, messages, dict(trip.facts.attributes), answers, own.quotes)
        form = _NO_FORM
    sampling, asked = own.sampling, request.sampling
    if asked != _UNSET:
        merged = (theirs if mine is None else mine for mine, theirs in zip(sampling, asked, strict=True))
        sampling = Sampling._make(merged)._replace(max_tokens=node.max_tokens(asked.max_tokens))
    confidence = own.confidence

    return ChatRequest(
        messages,
        sampling,
        confidence is not None and confidence.source in _FROM_PROBABILITIES,
        trip.traceparent(span_id),
        form,
        1 if confidence is None else confidence.samples,
        "",
        trip.facts.scopes.tenant,
        stations,
    )
