"""
What a node's call sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwalk import prompts
from meshwalk.backends.base import ChatRequest, Stations, make_chat_request
from meshwalk.model import Sampling
from meshwalk.plan import NodePlan
from meshwalk.trace import Facts, Form, Request


_NO_ANSWERS: Mapping[str, str] = {}
_UNSET = Sampling()
_NO_FORM = Form()
_FROM_PROBABILITIES = frozenset({"mean_token_probability", "min_token_probability", "margin"})


class Asker:
    """
    Say what calls of *node* send.
    """

    __slots__ = ("_node", "_probabilities", "_prompt", "_samples", "_sampling")

    def __init__(self, node: NodePlan) -> None:
        own = node.node
        self._node = node
        self._prompt = own.prompt
        self._sampling = own.sampling
        confidence = own.confidence
        self._probabilities = confidence is not None and confidence.source in _FROM_PROBABILITIES
        self._samples = 1 if confidence is None else confidence.samples

    def __call__(
        self,
        request: Request,
        facts: Facts,
        traceparent: str,
        stations: Stations | None,
        answers: Mapping[str, str] = _NO_ANSWERS,
    ) -> ChatRequest:
        """
        Return what is sent for *request*, of which *facts* are known.

        Args:
            answers: The texts of earlier nodes that its prompt quotes.
        """
        messages, form, sampling = request.messages, request.form, self._sampling
        if self._prompt is not None:
            # What a node asks of its own needs none of the caller's tools and formats.
            messages = prompts.render(self._prompt, messages, dict(facts.attributes), answers, self._node.node.quotes)
            form = _NO_FORM
        if request.sampling != _UNSET:
            sampling = self._merged(request.sampling)
        tenant = facts.scopes.tenant

        return make_chat_request(
            (messages, sampling, self._probabilities, traceparent, form, self._samples, "", tenant, stations)
        )

    def _merged(self, asked: Sampling) -> Sampling:
        merged = (theirs if mine is None else mine for mine, theirs in zip(self._sampling, asked, strict=True))

        return Sampling._make(merged)._replace(max_tokens=self._node.max_tokens(asked.max_tokens))


Ask = Callable[[Request, Facts, str, Stations | None], ChatRequest]


def usual(node: NodePlan) -> Ask | None:
    """
    Prepare what calls of *node* send for a request that asks for no sampling of its own; None if that is no quicker.
    """
    own = node.node
    if own.prompt is not None:
        return None
    sampling, confidence = own.sampling, own.confidence
    probabilities = confidence is not None and confidence.source in _FROM_PROBABILITIES
    samples = 1 if confidence is None else confidence.samples

    def ask(request: Request, facts: Facts, traceparent: str, stations: Stations | None) -> ChatRequest:
        return make_chat_request((
            request.messages, sampling, probabilities, traceparent, request.form, samples, "", facts.scopes.tenant, stations,
        ))  # fmt: skip

    return ask
