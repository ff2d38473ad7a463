"""
Backends as an author declares them: prices, traffic, endpoints, and a spec for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from meshwalk.model.problems import ErrorClass, Span


# Prices are per this many tokens.
MTOK = 1_000_000


class Price(NamedTuple):
    """
    The price of a million tokens, in whole nano-dollars (0.05 USD is 50,000,000).

    Args:
        cached_nano_per_mtok: Of input that the provider had in a cache; None is the same as other input.
        reasoning_nano_per_mtok: Of output that the caller does not see; None is the same as other output.
    """

    input_nano_per_mtok: int
    output_nano_per_mtok: int
    cached_nano_per_mtok: int | None = None
    reasoning_nano_per_mtok: int | None = None

    @property
    def pair_rate(self) -> int:
        """
        Return the cost of one plain token in and one plain token out together, by which prices are compared.
        """
        return self.input_nano_per_mtok + self.output_nano_per_mtok

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        cached_input_tokens: int = 0,
        reasoning_tokens: int = 0,
        cache_write_tokens: int = 0,  # noqa: ARG002
    ) -> int:
        """
        Price a call in nano-dollars, rounded up, so that a bound stays a bound.

        Args:
            cached_input_tokens: Those of the input; more than the input has are not counted, as for *reasoning_tokens*.
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
        Price the max_rates call of at most so many tokens, whatever part of them was cached or is not seen.
        """
        input_price, output_price = self.max_rates

        return -(-(input_tokens * input_price + output_tokens * output_price) // MTOK)

    @property
    def max_rates(self) -> tuple[int, int]:
        """
        Return the most that a million tokens of input cost, and of output.
        """
        plain_in, plain_out, cached, reasoning = self

        return max(plain_in, cached or 0), max(plain_out, reasoning or 0)


class ThoughtTags(NamedTuple):
    """
    The tags round thoughts that stand in the content of an answer; an empty *open* begins every answer with thoughts.
    """

    open: str
    close: str


class Breaker(NamedTuple):
    """
    A circuit breaker: it opens after *failures* in a row, or past a *share* of failed calls in *window_us*.

    Args:
        open_us: Time until one call at a time probes the endpoint again.
        least_calls: Calls that the window must hold before *share* counts.
    """

    failures: int = 5
    share: float = 0.5
    window_us: int = 30_000_000
    min_calls: int = 10
    open_us: int = 10_000_000


class Traffic(NamedTuple):
    """
    The bounds of one process's calls to a backend; None is no bound.  Each endpoint has the first three to itself.

    Args:
        queue: The calls that may wait beside those under way.
        queue_wait_us: The longest wait; None is as long as the hop has.
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
    One of several addresses of a backend's model; the backend's own value stands for each None.

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
    The keys that every kind of backend may declare.

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
        Return whether a limiter bounds the calls and watches their outcomes.
        """
        return self.traffic is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISpec(BackendSpec):
    """
    An OpenAI-compatible chat endpoint; `${NAME}` in *base_url* is read from the environment when a mesh opens.

    Args:
        base_url: None means `${OPENAI_BASE_URL}`.
        key_env: The environment variable that holds the key, never the key.
        endpoints: Several addresses of the model, in place of *base_url*.
    """

    model: str
    base_url: str | None = None
    key_env: str | None = None
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def gated(self) -> bool:
        """
        Return whether a limiter bounds the calls and watches their outcomes.
        """
        return self.traffic is not None or bool(self.endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSpec(BackendSpec):
    """
    A small model that runs in this process (a GGUF file; None is the packaged SmolLM2-135M).
    """

    model: str | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpec(BackendSpec):
    """
    A model of an outcomes file, whose recorded answers are given.

    Args:
        data: The file, relative to the graph's folder as the author wrote it; None waits for `--data` or `evaluate`.
    """

    model: str
    data: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSpec(BackendSpec):
    """
    A pretended model: a log-normal latency through two quantiles, a length, a failure rate, a confidence.
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
    The user's own async function, named as `package.module:function`.
    """

    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec(BackendSpec):
    """
    A cache of another backend's replies: the same request of the same tenant gets the same reply.

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
