"""
What nodes call, as an author declares it: prices, traffic, endpoints, and a spec for each kind of backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from meshwalk.model.problems import ErrorClass, Span


# Prices are told for so many tokens.
MTOK = 1_000_000


class Price(NamedTuple):
    """
    Price tokens in whole nano-dollars a million tokens (0.05 USD a million tokens is 50,000,000).

    Args:
        cached_nano_per_mtok: Of input that the provider had in a cache; None is the same as other input.
        reasoning_nano_per_mtok: Of output that the caller does not see; None is the same as other output.
    """

    input_nano_per_mtok: int
    output_nano_per_mtok: int
    cached_nano_per_mtok: int | None = None
    reasoning_nano_per_mtok: int | None = None

    @property
    def dearness(self) -> int:
        """
        Say how dear it is beside others: what one plain token in and one plain token out cost together.
        """
        return self.input_nano_per_mtok + self.output_nano_per_mtok

    def cost(self, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0, reasoning_tokens: int = 0) -> int:
        """
        Price a call in nano-dollars, rounded up, so that a bound stays a bound.

        Args:
            cached_input_tokens: Those of the input; what is said beyond it is not counted, as for *reasoning_tokens*.
        """
        plain_in, plain_out, cached, reasoning = self
        exact = input_tokens * plain_in + output_tokens * plain_out
        if cached is not None and cached_input_tokens > 0:
            exact += min(cached_input_tokens, input_tokens) * (cached - plain_in)
        if reasoning is not None and reasoning_tokens > 0:
            exact += min(reasoning_tokens, output_tokens) * (reasoning - plain_out)

        return -(-exact // MTOK)

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """
        Price the dearest call of at most so many tokens, whatever part of them was cached or is not seen.
        """
        input_price, output_price = self.dearest

        return -(-(input_tokens * input_price + output_tokens * output_price) // MTOK)

    @property
    def dearest(self) -> tuple[int, int]:
        """
        Return the most that a million tokens of input cost, and of output.
        """
        plain_in, plain_out, cached, reasoning = self

        return max(plain_in, cached or 0), max(plain_out, reasoning or 0)


class Breaker(NamedTuple):
    """
    Say when an endpoint is left alone for a while: after *failures* in a row, or past *share* of the calls in *window_us*.

    Args:
        open_us: How long it is left alone; then one call at a time probes it.
        least_calls: How many calls in the window *share* needs to mean anything.
    """

    failures: int = 5
    share: float = 0.5
    window_us: int = 30_000_000
    min_calls: int = 10
    open_us: int = 10_000_000


class Traffic(NamedTuple):
    """
    Bound the calls that one process makes to a backend; None is no bound.  Each endpoint has the first three to itself.

    Args:
        queue: How many further calls may wait for a place.
        queue_wait_us: How long one may wait at most; None is as long as its hop has.
        sticky: Whether calls of one session (or workflow) stay with one endpoint while that is well.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    queue: int = 100
    queue_wait_us: int | None = None
    sticky: Literal["session", "workflow"] | None = None
    breaker: Breaker | None = None


class Endpoint(NamedTuple):
    """
    Name one of several places where a backend's model can be called; what is None is the backend's own.

    Args:
        weight: Its share of the calls, beside those of the others.
    """

    name: str
    base_url: str | None = None
    key_env: str | None = None
    weight: float = 1.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """
    Hold what every kind of backend may declare.

    Args:
        traffic: None bounds nothing and watches nothing.
        tokenizer: A `tokenizer.json`, relative to the graph's folder as the author wrote it, whose counts bound the input
            more tightly than its bytes do.
    """

    name: str
    span: Span
    price: Price | None = None
    context_tokens: int | None = None
    tokenizer: str | None = None
    traffic: Traffic | None = None
    description: str = ""

    @property
    def gated(self) -> bool:
        """
        Tell whether calls pass a gate, which bounds them and watches how they go.
        """
        return self.traffic is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISpec(BackendSpec):
    """
    Name an OpenAI-compatible chat endpoint; `${NAME}` in *base_url* is read from the environment when a mesh opens.

    Args:
        base_url: None means `${OPENAI_BASE_URL}`.
        key_env: The environment variable that holds the key, never the key.
        endpoints: Several places where the model can be called, in place of *base_url*.
    """

    model: str
    base_url: str | None = None
    key_env: str | None = None
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def gated(self) -> bool:
        """
        Tell whether calls pass a gate, which bounds them and watches how they go.
        """
        return self.traffic is not None or bool(self.endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpec(BackendSpec):
    """
    Name a small model that runs in this process (a GGUF file; None is the packaged SmolLM2-135M).
    """

    model: str | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpec(BackendSpec):
    """
    Name a model of an outcomes file whose recorded answers are given.

    Args:
        data: The file, relative to the graph's folder as the author wrote it; None waits for `--data` or `evaluate`.
    """

    model: str
    data: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSpec(BackendSpec):
    """
    Declare a pretended model: a log-normal latency through two quantiles, a length, a failure rate, a confidence.
    """

    latency_p50_us: int = 0
    latency_p99_us: int = 0
    output_tokens: int = 32
    failure_rate: float = 0.0
    failure_class: ErrorClass = "overloaded"
    confidence: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonSpec(BackendSpec):
    """
    Name the user's own async function as `package.module:function`.
    """

    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec(BackendSpec):
    """
    Keep the replies of another backend, and give them again to the same request of the same tenant.

    Its price, its window and its tokenizer are the other one's where the author gave it none of its own.

    Args:
        of: The other backend's name; it is no cache itself.
        ttl_us: How long a reply is kept.
        entries: How many are kept at most.
        size_bytes: How many bytes of text are kept at most.
    """

    of: str
    ttl_us: int = 600_000_000
    entries: int = 10_000
    size_bytes: int = 64 << 20


AnyBackendSpec = OpenAISpec | LocalSpec | RecordedSpec | SimulatedSpec | PythonSpec | CacheSpec
