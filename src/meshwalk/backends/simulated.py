"""
A pretended model, for tests, demonstrations and load: declared latency, length, failures and confidence.

It is public so that users test their graphs with what we test ours with.  Every text it gives says that it is simulated, and
so does `Reply.simulated`, because a graph that was only ever walked with pretended models proves nothing about quality.

The dice are a hash of the seed, the messages and how often this backend has seen them, so a run can be repeated: the same
calls in the same order end the same.  A retry is a further call and may end otherwise.

A streamed reply is the same reply, word by word, spread over the same latency.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from itertools import pairwise
from statistics import NormalDist
from typing import NoReturn, Self

import anyio

from meshwalk.backends.base import ChatRequest, OnPiece
from meshwalk.model import SimulatedSpec
from meshwalk.model.problems import (
    BackendError,
    ErrorClass,
    Malformed,
    Overloaded,
    RateLimited,
    RefusedByModel,
    SetupError,
    TooLong,
    Unreachable,
)
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Message, Piece, Reply, TokenProbabilities, Usage


_FAILURES: Mapping[ErrorClass, type[BackendError]] = {
    "rate_limited": RateLimited,
    "overloaded": Overloaded,
    "unreachable": Unreachable,
    "malformed": Malformed,
    "refused_by_model": RefusedByModel,
    "too_long": TooLong,
}
_NORMAL = NormalDist()
_Z99 = _NORMAL.inv_cdf(0.99)
_BYTES_PER_TOKEN = 4

# The share of a call's latency after which its first word is there, and what a word is.
_FIRST_WORD_AT = 0.4
_WORD = re.compile(r"\S+\s*")

# The number of prompts remembered, to tell a retry from a first call.
_PROMPTS_KEPT = 1 << 16


class SimulatedBackend(AsyncResource):
    """
    A pretended model called *name*.

    Args:
        latency_p50_us: Half of the calls take at most this long; 0 is no latency at all.
        latency_p99_us: 99 of 100 calls take at most this long; latencies are log-normal through the two.
        output_tokens: How long every reply is, if `max_tokens` allows it.
        failure_class: What a failing call raises; `timeout` never answers.
        confidence: What replies report as their confidence, as the probability of each token, and as the share of samples that
            agree; None reports nothing, and gives one sample.

    Raises:
        SetupError: If *failure_class* is not a backend's to fail with.
    """

    def __init__(
        self,
        name: str = "simulated",
        *,
        latency_p50_us: int = 0,
        latency_p99_us: int = 0,
        output_tokens: int = 32,
        failure_rate: float = 0.0,
        failure_class: ErrorClass = "overloaded",
        confidence: float | None = None,
        seed: int = 0,
    ) -> None:
        if failure_class != "timeout" and failure_class not in _FAILURES:
            raise SetupError(
                f"backend '{name}' cannot fail with class '{failure_class}', which is not a model's doing; "
                f"choose one of: {', '.join(_FAILURES)}, timeout"
            )
        self.name = name
        self._p50 = latency_p50_us
        self._sigma = math.log(latency_p99_us / latency_p50_us) / _Z99 if latency_p99_us > latency_p50_us > 0 else 0.0
        self._output_tokens = output_tokens
        self._failure_rate = failure_rate
        self._failure_class = failure_class
        self._confidence = confidence
        self._seed = seed
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._text = f"[simulated {name}] No model made this text"
        self.waits = latency_p50_us > 0 or (failure_rate > 0 and failure_class == "timeout")

    def __repr__(self) -> str:
        return f"<SimulatedBackend {self.name}: seed {self._seed}>"

    @classmethod
    def of(cls, spec: SimulatedSpec) -> Self:
        """
        Make the backend that a graph declares.
        """
        return cls(
            spec.name,
            latency_p50_us=spec.latency_p50_us,
            latency_p99_us=spec.latency_p99_us,
            output_tokens=spec.output_tokens,
            failure_rate=spec.failure_rate,
            failure_class=spec.failure_class,
            confidence=spec.confidence,
            seed=spec.seed,
        )

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Wait, then fail or answer, as declared.
        """
        latency_s, failing = self._fate(request)
        if failing:
            await self._fail(latency_s)
        if latency_s:
            await anyio.sleep(latency_s)

        return self._reply(request)

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        """
        Do what `chat` does, and pass each word to *on_piece* when its time has come; a call that fails passes none.
        """
        latency_s, failing = self._fate(request)
        if failing:
            await self._fail(latency_s)
        reply = self._reply(request)
        pieces = _pieces(reply)
        wait_s = latency_s * _FIRST_WORD_AT
        for piece in pieces:
            if wait_s:
                await anyio.sleep(wait_s)
            on_piece(piece)
            wait_s = latency_s * (1 - _FIRST_WORD_AT) / (len(pieces) - 1)

        return reply

    async def aclose(self) -> None:
        """
        Do nothing: there is nothing to let go of.
        """

    def _fate(self, request: ChatRequest) -> tuple[float, bool]:
        """
        Draw how many seconds a call takes, and whether it fails.
        """
        if self._failure_rate or self._sigma:
            fate, pace = self._dice(request.messages)
            failing = fate < self._failure_rate
        else:
            failing, pace = False, 0.5

        return self._p50 * math.exp(self._sigma * _NORMAL.inv_cdf(pace)) / 1e6 if self._p50 else 0.0, failing

    async def _fail(self, latency_s: float) -> NoReturn:
        if self._failure_class == "timeout":
            await anyio.sleep_forever()
        if latency_s:
            await anyio.sleep(latency_s)
        raise _FAILURES[self._failure_class](
            f"backend '{self.name}' pretends to fail with class '{self._failure_class}'",
            backend=self.name,
            billable=self._failure_class == "malformed",
        )

    def _reply(self, request: ChatRequest) -> Reply:
        size = 0
        for message in request.messages:
            size += len(message.content) if message.content.isascii() else len(message.content.encode("utf-8", "replace"))
        length, most = self._output_tokens, request.sampling.max_tokens
        cut = most is not None and most < length
        sure = self._confidence
        text = f"{self._text}; the prompt had {size} bytes."
        samples = () if sure is None or request.samples < 2 else _samples(text, request.samples, sure)
        tokens = most if most is not None and cut else length

        return Reply(
            text,
            samples=samples,
            finish_reason="length" if cut else "stop",
            usage=Usage(-(-size // _BYTES_PER_TOKEN), tokens * max(1, len(samples))),
            confidence=sure,
            probabilities=TokenProbabilities(sure, sure, sure) if request.probabilities and sure is not None else None,
            model=self.name,
            simulated=True,
        )

    def _dice(self, messages: tuple[Message, ...]) -> tuple[float, float]:
        """
        Throw two numbers, each above 0 and below 1.
        """
        hashed = blake2b(repr((self._seed, self.name)).encode(), digest_size=16)
        for message in messages:
            hashed.update(repr(tuple(message)).encode("utf-8", "replace"))
        prompt = hashed.digest()
        count = self._seen[prompt] = self._seen.pop(prompt, -1) + 1
        if len(self._seen) > _PROMPTS_KEPT:
            self._seen.popitem(last=False)
        thrown = blake2b(prompt + count.to_bytes(8, "big"), digest_size=16).digest()

        return _fraction(thrown[:8]), _fraction(thrown[8:])


def _pieces(reply: Reply) -> list[Piece]:
    """
    Cut a reply into words, among which its tokens are shared out.
    """
    words, said = _WORD.findall(reply.text), reply.probabilities
    tokens = reply.usage.output_tokens // max(1, len(reply.samples)) if reply.usage else len(words)
    ends = [tokens * count // len(words) for count in range(len(words) + 1)]
    sizes = [end - start for start, end in pairwise(ends)]
    sure = said.mean if said else None

    return [
        Piece(word, size) if sure is None else Piece(word, size, (sure,) * size, (sure,) * size)
        for word, size in zip(words, sizes, strict=True)
    ]


def _samples(text: str, count: int, sure: float) -> tuple[str, ...]:
    # One always agrees with itself; each of the others says something of its own, whatever is compared.
    agreeing = max(1, round(sure * count))

    return (*[text] * agreeing, *(f"{text} The answer is -{number} instead." for number in range(agreeing + 1, count + 1)))


def _fraction(bits: bytes) -> float:
    # 52 bits and a half fit a float exactly, so that neither 0 nor 1 can come out.
    return ((int.from_bytes(bits, "big") >> 12) + 0.5) / 2**52
