"""
What an author said: a graph as plain, frozen data, each part with its place in the text.

The loader makes these and everyone else reads them.  Names refer to each other as text here; `plan` resolves them.
Times are whole microseconds, money is whole nano-dollars (recorded real costs are not whole micro-dollars).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from meshwalk.problems import ErrorClass, Problem, Span


Role = Literal["classifier", "prescreen", "answer", "primary", "verifier", "refusal"]
ConfidenceSource = Literal["mean_token_probability", "min_token_probability", "margin", "stated", "recorded", "agreement"]
# How sure a model is of its own answer says something of another's where that is what it was asked for.
ScoreSource = Literal["mean_token_probability", "min_token_probability", "margin", "stated", "recorded"]
Extractor = Literal["number", "choice", "text"]
ValueType = Literal["string", "number", "bool"]

Value = str | float | bool

ScopeKind = Literal["session", "workflow", "tenant"]
AwayPolicy = Literal["closed", "open", "local"]

# The target of an edge that serves an answer; no node may have this name.
DONE = "done"

URGENCY_DEADLINES_US: Mapping[str, int] = {"realtime": 2_000_000, "interactive": 30_000_000, "batch": 600_000_000}

DEFAULT_HOPS = 16
DEFAULT_INPUT_BYTES = 1 << 20

# A scope's name becomes a key in records and vaults; a longer one is a mistake.
SCOPE_CHARACTERS = 256

# The most that many walks may share.  Redis counts in doubles: every whole nano-dollar up to here is one of its own, and
# counts stay far below what a double holds exactly.
MOST_SHARED_USD = 9_000_000
MOST_SHARED_COUNT = 10**15


NOT_UNICODE = "holds characters that are not Unicode text (lone surrogates)"


def is_unicode(text: str) -> bool:
    """
    Tell whether *text* can be written as UTF-8, which every record and message is.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False

    return True


def nano_usd_or_none(amount: float) -> int | None:
    """
    Return *amount* dollars in nano-dollars, or None if it is finer than that.
    """
    # The shortest text that reads back as the float is what was written, as long as it has at most 15 digits.
    nano = Decimal(repr(amount)) * 1_000_000_000

    return int(nano) if nano == int(nano) else None


class Limits(NamedTuple):
    """
    Bound one walk; None means that nobody said so.
    """

    hops: int | None = None
    deadline_us: int | None = None
    cost_nano_usd: int | None = None
    input_bytes: int | None = None
    output_tokens: int | None = None
    input_tokens: int | None = None
    calls: int | None = None


class Amount(NamedTuple):
    """
    Count what calls use: money in whole nano-dollars, tokens, model calls, and hops.
    """

    cost_nano_usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    hops: int = 0

    # Each walk adds and subtracts often; spelt out, that is twice as fast as going through the parts.

    def plus(self, other: Amount) -> Amount:
        """
        Add *other*, part by part.
        """
        cost, incoming, outgoing, calls, hops = other

        return Amount(self[0] + cost, self[1] + incoming, self[2] + outgoing, self[3] + calls, self[4] + hops)

    def less(self, other: Amount) -> Amount:
        """
        Subtract *other*, part by part.
        """
        cost, incoming, outgoing, calls, hops = other

        return Amount(self[0] - cost, self[1] - incoming, self[2] - outgoing, self[3] - calls, self[4] - hops)


class Caps(NamedTuple):
    """
    Cap each part of an `Amount`; None is no cap.
    """

    cost_nano_usd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    calls: int | None = None
    hops: int | None = None


# Where a soft limit begins if nobody says otherwise: guards see pressure from here on.
PRESSURE_FROM = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    Cap what all walks of one scope may use together; which scope a walk is in, its caller says.

    Args:
        window_us: How long one count lasts, aligned to the Unix epoch; None counts for ever.
        pressure_from: The used share from which `budget.<scope>.pressure` rises above 0.
        required: Whether a request must name the scope; one that need not, and does not, is not capped by it.
        away: What holds while the vault does not answer: nothing is granted, everything is, or each server counts for itself.
        places: The place of each value the author wrote, by its key.
    """

    scope: ScopeKind
    span: Span
    caps: Caps
    window_us: int | None = None
    pressure_from: float = PRESSURE_FROM
    required: bool = False
    away: AwayPolicy = "closed"
    places: Mapping[str, Span] = field(default_factory=dict)


class Sampling(NamedTuple):
    """
    Set how a model samples; None leaves it to whoever comes next (node, then request, then the provider).
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    Declare a value that callers may send and guards may read as `request.<name>`.
    """

    name: str
    type: ValueType
    span: Span
    enum: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    default: Value | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """
    Name a tunable number.
    """

    name: str
    value: float
    span: Span
    range: tuple[float, float] | None = None
    description: str = ""


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

        return -(-exact // 1_000_000)

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """
        Price the dearest call of at most so many tokens, whatever part of them was cached or is not seen.
        """
        plain_in, plain_out, cached, reasoning = self
        exact = input_tokens * max(plain_in, cached or 0) + output_tokens * max(plain_out, reasoning or 0)

        return -(-exact // 1_000_000)


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
    least_calls: int = 10
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


@dataclass(frozen=True, slots=True)
class Confidence:
    """
    Say where a reply's confidence comes from, and what it is where the reply has none.

    Args:
        pattern: For `stated`: a regular expression with one group, the number.
        missing: None leaves the signal undetermined.
        samples: For `agreement`: how many answers are asked for.
        extract: For `agreement`: what of an answer is compared.
    """

    source: ConfidenceSource
    span: Span
    pattern: str | None = None
    missing: float | None = None
    samples: int = 1
    extract: Extractor = "text"


class Backoff(NamedTuple):
    """
    Say how long a retry waits: a random time up to *first_us*, which doubles with each retry up to *most_us*.
    """

    first_us: int = 100_000
    most_us: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Edge:
    """
    Permit a next hop.

    Args:
        when: The guard's text; None on the last edge of `next` and on every edge of `on_error`.
        classes: On `on_error` only: the classes it takes, empty for all.
        answer: With `to: done`: the node whose reply is served; None is the latest answer.
        otherwise: With `answer` on `on_error` (`else:` in a graph): where to go if that node gave no reply.
        when_span: The guard text's own place; *exact* says that a column inside the guard maps one to one.
    """

    to: str
    span: Span
    to_span: Span
    when: str | None = None
    when_span: Span | None = None
    exact: bool = True
    classes: tuple[ErrorClass, ...] = ()
    answer: str | None = None
    answer_span: Span | None = None
    otherwise: str | None = None
    otherwise_span: Span | None = None
    id: str | None = None

    def place(self, offset: int, length: int) -> Span:
        """
        Return the place of a part of the guard's text in the graph's.
        """
        start = self.when_span or self.span

        return start._replace(column=start.column + offset, length=length) if self.exact else start


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """
    Describe a step; which keys a role takes is the loader's to check.

    Args:
        use: For a classifier `features`, `weights`, `model`, `http` or `python`; for a verifier `agreement` or `model`.
        of: For a verifier: the nodes whose replies are judged.
        prompt: A template; None sends the caller's messages as they are.
        quotes: For a verifier that asks a model: how many bytes of each node's answer its prompt shows at most.
        confidence: For a verifier that asks a model: where its score comes from.
        qualified: For a prescreen: a regular expression that a qualifying reply matches (ignoring case).
        visits: How often one walk may come here.
        hedge_us: After how long without a reply a second call is made beside the first; None never.
        stream: None holds a reply back until it is whole; 0 passes it on as it comes; N does so from its N-th token on, if
            what was seen by then would be served.
        weights: For a classifier: the file of what it has learnt, relative to the graph's folder as the author wrote it.
        url: For a classifier: the address that is asked; `${NAME}` is read from the environment when a mesh opens.
        key_env: For a classifier: the environment variable that holds the key for *url*.
        function: For a classifier: the user's own, as `package.module:function`.
        labels: For a classifier that asks a model: what it may answer.
        writes: For a classifier: the signals it gives, by name, where those are the author's to declare.
        places: The place of each value the author wrote, by its key; of a list's items by key and position (`of.0`).
    """

    name: str
    role: Role
    span: Span
    backend: str | None = None
    use: str | None = None
    of: tuple[str, ...] = ()
    extract: Extractor = "text"
    prompt: str | None = None
    quotes: Mapping[str, int] = field(default_factory=dict)
    qualified: str | None = None
    confidence: Confidence | None = None
    sampling: Sampling = Sampling()
    deadline_us: int | None = None
    attempt_timeout_us: int | None = None
    min_time_us: int = 0
    retries: int = 0
    backoff: Backoff = Backoff()
    hedge_us: int | None = None
    stream: int | None = None
    weights: str | None = None
    url: str | None = None
    key_env: str | None = None
    function: str | None = None
    labels: tuple[str, ...] = ()
    writes: Mapping[str, Attribute] = field(default_factory=dict)
    visits: int = 1
    next: tuple[Edge, ...] = ()
    on_error: tuple[Edge, ...] = ()
    reason: str = ""
    description: str = ""
    places: Mapping[str, Span] = field(default_factory=dict)


class Recording(NamedTuple):
    """
    Say whether prompts and answers are recorded, and which functions (`module:function`) redact them first.
    """

    content: bool = False
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """
    Hold a whole graph as its author wrote it.

    Args:
        allowed_sampling: The sampling parameters that callers may set.
        pressure_from: The used share of the walk's own limits from which `budget.request.pressure` rises above 0.
        budgets: What many walks share, by scope.
        prices: The version of its prices, as its author or its price table names it.
        hashes: SHA-256 of each file that the graph names, by the key that names it (`backends.replayed.data`).
        broken: Names of parts (nodes, backends, attributes, thresholds) that are not fully known because their own text is at
            fault; others may still refer to them.
        problems: What the loader found; a graph with errors here never becomes a plan.
        folder: Where relative paths start.
    """

    name: str
    file: str
    span: Span
    start: str
    start_span: Span
    nodes: Mapping[str, Node]
    backends: Mapping[str, AnyBackendSpec]
    attributes: Mapping[str, Attribute]
    thresholds: Mapping[str, Threshold]
    limits: Limits = Limits()
    limits_span: Span | None = None
    pressure_from: float = PRESSURE_FROM
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    allowed_sampling: tuple[str, ...] = Sampling._fields
    recording: Recording = Recording()
    version: str = ""
    prices: str = ""
    description: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    folder: str = "."
