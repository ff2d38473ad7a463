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
ConfidenceSource = Literal["mean_token_probability", "min_token_probability", "margin", "stated", "recorded"]
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
    """

    input_nano_per_mtok: int
    output_nano_per_mtok: int

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """
        Price a call in nano-dollars, rounded up, so that a bound stays a bound.
        """
        exact = input_tokens * self.input_nano_per_mtok + output_tokens * self.output_nano_per_mtok

        return -(-exact // 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """
    Hold what every kind of backend may declare.

    Args:
        tokenizer: A `tokenizer.json`, relative to the graph's folder as the author wrote it, whose counts bound the input
            more tightly than its bytes do.
    """

    name: str
    span: Span
    price: Price | None = None
    context_tokens: int | None = None
    tokenizer: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISpec(BackendSpec):
    """
    Name an OpenAI-compatible chat endpoint; `${NAME}` in *base_url* is read from the environment when a mesh opens.

    Args:
        base_url: None means `${OPENAI_BASE_URL}`.
        key_env: The environment variable that holds the key, never the key.
    """

    model: str
    base_url: str | None = None
    key_env: str | None = None


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


AnyBackendSpec = OpenAISpec | LocalSpec | RecordedSpec | SimulatedSpec | PythonSpec


@dataclass(frozen=True, slots=True)
class Confidence:
    """
    Say where a reply's confidence comes from, and what it is where the reply has none.

    Args:
        pattern: For `stated`: a regular expression with one group, the number.
        missing: None leaves the signal undetermined.
    """

    source: ConfidenceSource
    span: Span
    pattern: str | None = None
    missing: float | None = None


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
        use: `features` for a classifier, `agreement` for a verifier.
        of: For a verifier: the nodes whose replies are compared.
        prompt: A template; None sends the caller's messages as they are.
        qualified: For a prescreen: a regular expression that a qualifying reply matches (ignoring case).
        visits: How often one walk may come here.
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
    qualified: str | None = None
    confidence: Confidence | None = None
    sampling: Sampling = Sampling()
    deadline_us: int | None = None
    attempt_timeout_us: int | None = None
    min_time_us: int = 0
    retries: int = 0
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
    description: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    folder: str = "."
