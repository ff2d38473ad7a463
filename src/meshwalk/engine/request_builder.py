"""
The requests that a node's calls send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwalk import prompts
from meshwalk.backends.base import CallProgress, ChatRequest, make_chat_request
from meshwalk.model import Sampling
from meshwalk.plan import NodePlan
from meshwalk.trace import Facts, Message, ReplyOptions, Request


_NO_ANSWERS: Mapping[str, str] = {}
_UNSET = Sampling()
_NO_FORM = ReplyOptions()
_FROM_PROBABILITIES = frozenset({"mean_token_probability", "min_token_probability", "margin"})


class RequestBuilder:
    """
    The builder of the requests that calls of *node* send.
    """

    __slots__ = ("_node", "_probabilities", "_prompt", "_samples", "_sampling", "_system")

    def __init__(self, node: NodePlan) -> None:
        spec = node.node
        self._node = node
        self._prompt = spec.prompt
        self._system = () if spec.system is None else (Message("system", spec.system),)
        self._sampling = spec.sampling
        confidence = spec.confidence
        self._probabilities = confidence is not None and confidence.source in _FROM_PROBABILITIES
        self._samples = 1 if confidence is None else confidence.samples

    def __call__(
        self,
        request: Request,
        facts: Facts,
        traceparent: str,
        progress: CallProgress | None,
        answers: Mapping[str, str] = _NO_ANSWERS,
    ) -> ChatRequest:
        """
        Return what is sent for *request*, of which *facts* are known.

        Args:
            answers: The texts of earlier nodes that its prompt quotes.
        """
        sent = self.usual(request, facts, traceparent, progress)
        if self._prompt is not None:
            # A node's own prompt needs none of the caller's tools and formats.
            attributes = dict(facts.attributes)
            messages = prompts.render(self._prompt, request.messages, attributes, answers, self._node.node.quotes)
            sent = sent._replace(messages=messages, form=_NO_FORM)
        if self._system:
            sent = sent._replace(messages=self._system + sent.messages)
        if request.sampling != _UNSET:
            sent = sent._replace(sampling=self._merged(request.sampling))

        return sent

    def usual(
        self,
        request: Request,
        facts: Facts,
        traceparent: str,
        progress: CallProgress | None,
        _: Mapping[str, str] = _NO_ANSWERS,
    ) -> ChatRequest:
        """
        Return the call's request if it asks for no sampling of its own and the node has neither prompt nor system message.
        """
        return make_chat_request((
            request.messages, self._sampling, self._probabilities, traceparent, request.form, self._samples, "",
            facts.scopes.tenant, progress,
        ))  # fmt: skip

    def _merged(self, requested: Sampling) -> Sampling:
        merged = (theirs if mine is None else mine for mine, theirs in zip(self._sampling, requested, strict=True))

        return Sampling._make(merged)._replace(max_tokens=self._node.max_tokens(requested.max_tokens))


BuildRequest = Callable[[Request, Facts, str, CallProgress | None, Mapping[str, str]], ChatRequest]
