"""
Backends as an author declares them: prices, traffic, endpoints, and a spec for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from meshwalk.model.problems import ErrorClass, Span


# The calls that an endpoint over a network has at once where a graph declares no `concurrency`: as many as its connections.
NETWORK_CONCURRENCY = 100

# The time that a call waits for one of them where a graph declares nothing of its traffic.  A walk of 30 s still has time for
# another model then.
NETWORK_QUEUE_WAIT_US = 5_000_000

# Prices are per this many tokens.
MTOK = 1_000_000


class Rates(NamedTuple):
    """
    The prices of a million tokens of each kind, in whole nano-dollars; None is the same as other input, or as other output.

    Args:
        cached_nano_per_mtok: Of input that the provider had in a cache.
        reasoning_nano_per_mtok: Of output that the caller does not see.
        cache_write_nano_per_mtok: Of input that the provider wrote to a cache.
    """

    input_nano_per_mtok: int
    output_nano_per_mtok: int
    cached_nano_per_mtok: int | None = None
    reasoning_nano_per_mtok: int | None = None
    cache_write_nano_per_mtok: int | None = None

    def exact(self, input_tokens: int, output_tokens: int, cached: int, reasoning: int, written: int) -> int:
        """
        Price a call in millionths of a nano-dollar.
        """
        plain_in, plain_out, cached_price, reasoning_price, write_price = self
        found = input_tokens * plain_in + output_tokens * plain_out
        if cached_price is not None and cached > 0:
            found += min(cached, input_tokens) * (cached_price - plain_in)
        if write_price is not None and written > 0:
            found += min(written, input_tokens - min(max(cached, 0), input_tokens)) * (write_price - plain_in)
        if reasoning_price is not None and reasoning > 0:
            found += min(reasoning, output_tokens) * (reasoning_price - plain_out)

        return found

    @property
    def max_rates(self) -> tuple[int, int]:
        """
        Return the most that a million tokens of input cost, and of output.
        """
        plain_in, plain_out, cached, reasoning, written = self

        return max(plain_in, cached or 0, written or 0), max(plain_out, reasoning or 0)


class Mark(NamedTuple):
    """
    The prices of calls whose input has more than *input_tokens*; they hold for all tokens of such a call.
    """

    input_tokens: int
    rates: Rates


class Price(NamedTuple):
    """
    The price of a million tokens, in whole nano-dollars (0.05 USD is 50,000,000).

    Args:
        cached_nano_per_mtok: Of input that the provider had in a cache; None is the same as other input.
        reasoning_nano_per_mtok: Of output that the caller does not see; None is the same as other output.
        cache_write_nano_per_mtok: Of input that the provider wrote to a cache; None is the same as other input.
        above: Other prices for calls with a long input, the lowest mark first.
    """

    input_nano_per_mtok: int
    output_nano_per_mtok: int
    cached_nano_per_mtok: int | None = None
    reasoning_nano_per_mtok: int | None = None
    cache_write_nano_per_mtok: int | None = None
    above: tuple[Mark, ...] = ()

    @property
    def pair_rate(self) -> int:
        """
        Return the cost of one plain token in and one plain token out together, by which prices are compared.
        """
        return self.input_nano_per_mtok + self.output_nano_per_mtok

    @property
    def rates(self) -> Rates:
        """
        Return the prices of a call below every mark.
        """
        return Rates(*self[:5])

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        cached_input_tokens: int = 0,
        reasoning_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> int:
        """
        Price a call in nano-dollars, rounded up, so that a bound stays a bound.

        Args:
            cached_input_tokens: Those of the input; more than the input has are not counted, as for the other parts.
        """
        if self.above or cache_write_tokens:
            rates = self.rates
            for mark in self.above:
                if input_tokens > mark.input_tokens:
                    rates = mark.rates
            return -(
                -rates.exact(input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, cache_write_tokens) // MTOK
            )
        plain_in, plain_out, cached, reasoning, _, _ = self
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
        able = [self.max_rates, *(mark.rates.max_rates for mark in self.above if input_tokens > mark.input_tokens)]

        return max([-(-(input_tokens * inputs + output_tokens * outputs) // MTOK) for inputs, outputs in able])

    @property
    def max_rates(self) -> tuple[int, int]:
        """
        Return the most that a million tokens of input cost, and of output, below every mark.
        """
        plain_in, plain_out, cached, reasoning, written, _ = self

        return max(plain_in, cached or 0, written or 0), max(plain_out, reasoning or 0)


class ThoughtTags(NamedTuple):
    """
    The tags round thoughts that stand in the content of an answer; an empty *open* begins every answer with thoughts.
    """

    open: str
    close: str


class Template(NamedTuple):
    """
    The tokens that a chat template may add: once to a call, and to each message.
    """

    per_request: int
    per_message: int


class InputBound(NamedTuple):
    """
    The bounds on the input tokens of a call.

    Args:
        thousandths_per_byte: Thousandths of a token for a byte of text.
        image_tokens: The tokens of an image.
    """

    thousandths_per_byte: int = 1000
    per_request: int = 0
    per_message: int = 16
    image_tokens: int = 0

    def tokens(self, input_bytes: int, messages: int, images: int) -> int:
        """
        Bound the tokens of so many bytes in so many messages, and of so many images beside them.
        """
        of_text = input_bytes if self.thousandths_per_byte == 1000 else -(-input_bytes * self.thousandths_per_byte // 1000)

        return of_text + self.per_request + messages * self.per_message + images * self.image_tokens


# A template of a real model may write a system text where the caller sends none; the longest that was measured has 475 tokens.
SERVED_TEMPLATE = Template(512, 16)
PACKAGED_TEMPLATE = Template(32, 16)
PRETENDED_TEMPLATE = Template(0, 16)


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
    The bounds of one process's calls to a backend, as declared; None is no bound.  Each endpoint has the first three to itself.

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
        tokens_per_byte: The most tokens that a byte of text becomes; None is one.
        template: The tokens that its chat template adds; None adds nothing once, and 16 to each message.
        traffic: What the author declares; `effective_traffic` says what holds where that is nothing.
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
    tokens_per_byte: float | None = None
    template: Template | None = None

    @property
    def input_bound(self) -> InputBound:
        """
        Return the bound on the input tokens of its calls.
        """
        per_byte = 1000 if self.tokens_per_byte is None else round(self.tokens_per_byte * 1000)

        return InputBound(per_byte, *(self.template or PRETENDED_TEMPLATE))

    @property
    def gated(self) -> bool:
        """
        Return whether the author bounds the calls, or has their outcomes watched.
        """
        return self.traffic is not None

    @property
    def networked(self) -> bool:
        """
        Return whether calls go over a network, so that their line is bounded even where the author declares nothing.
        """
        return False

    @property
    def effective_traffic(self) -> Traffic:
        """
        Return the bounds that hold, with those that the author does not declare.
        """
        return self.traffic or Traffic()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISpec(BackendSpec):
    """
    An OpenAI-compatible chat endpoint; `${NAME}` in *base_url* is read from the environment when a mesh opens.

    Args:
        base_url: None means `${OPENAI_BASE_URL}`.
        key_env: The environment variable that holds the key, never the key.
        endpoints: Several addresses of the model, in place of *base_url*.
        max_tokens_name: The server's name for the limit on tokens; None is the protocol's.
        leave_out: Fields that are never sent.
        extra: Further fields of the body, as JSON text of an object.
        headers: Further headers; `${NAME}` in a value is read from the environment when a mesh opens.
        key_header: The header that the key goes in as it is; None sends it as a bearer token.
        roles: Roles with their names at this server.
        stream_options: Whether a stream is asked for its usage.
        thoughts: The tags round thoughts that stand in the content of an answer.
        takes: The kinds of content it takes; empty is text alone.
        image_tokens: The most tokens that an image has.
        settles_reported: Whether a call is settled at what the provider says that it costs.
    """

    model: str
    base_url: str | None = None
    key_env: str | None = None
    endpoints: tuple[Endpoint, ...] = ()
    max_tokens_name: str | None = None
    leave_out: tuple[str, ...] = ()
    extra: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    key_header: str | None = None
    roles: tuple[tuple[str, str], ...] = ()
    stream_options: bool = True
    thoughts: ThoughtTags | None = None
    takes: tuple[str, ...] = ()
    image_tokens: int | None = None
    settles_reported: bool = False

    @property
    def input_bound(self) -> InputBound:
        """
        Return the bound on the input tokens of its calls.
        """
        return super(OpenAISpec, self).input_bound._replace(image_tokens=self.image_tokens or 0)

    @property
    def gated(self) -> bool:
        """
        Return whether the author bounds the calls, or has their outcomes watched.
        """
        return self.traffic is not None or bool(self.endpoints)

    @property
    def networked(self) -> bool:
        """
        Return whether calls go over a network, so that their line is bounded even where the author declares nothing.
        """
        return True

    @property
    def effective_traffic(self) -> Traffic:
        """
        Return the bounds that hold, with those that the author does not declare.
        """
        if self.traffic is None:
            return Traffic(concurrency=NETWORK_CONCURRENCY, queue_wait_us=NETWORK_QUEUE_WAIT_US)
        if self.traffic.concurrency is None:
            return self.traffic._replace(concurrency=NETWORK_CONCURRENCY)

        return self.traffic


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
