"""
A graph and its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwalk.model.backends import AnyBackendSpec
from meshwalk.model.limits import PRESSURE_FROM, Budget, Limits
from meshwalk.model.problems import ErrorClass, Problem, Span
from meshwalk.model.values import ConfidenceSource, Extractor, Role, Value, ValueType


class Sampling(NamedTuple):
    """
    Sampling parameters; None leaves one to the next in line (node, then request, then the provider).
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    A value that callers may send and guards may read as `request.<name>`.
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
    A named, tunable number.
    """

    name: str
    value: float
    span: Span
    range: tuple[float, float] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Confidence:
    """
    The source of a reply's confidence, and its value where the reply has none.

    Args:
        pattern: For `stated`: a regular expression with one group, the number.
        missing: None leaves the signal undetermined.
        samples: For `agreement`: the number of answers a call asks for.
        extract: For `agreement`: the part of an answer that is compared.
    """

    source: ConfidenceSource
    span: Span
    pattern: str | None = None
    missing: float | None = None
    samples: int = 1
    extract: Extractor = "text"


class Backoff(NamedTuple):
    """
    The wait before a retry: a random time up to *first_us*, doubled with each retry up to *max_us*.
    """

    first_us: int = 100_000
    max_us: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Edge:
    """
    A permitted next hop.

    Args:
        when: The guard's text; None on the last edge of `next` and on every edge of `on_error`.
        classes: On `on_error` only: the error classes it takes; empty for all.
        answer: With `to: done`: the node whose reply is served; None is the latest answer.
        otherwise: With `answer` on `on_error` (`else:` in a graph): the target if that node gave no reply.
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
    A step of a graph; the loader checks which keys its role takes.

    Args:
        use: For a classifier `features`, `weights`, `model`, `http` or `python`; for a verifier `agreement` or `model`.
        of: For a verifier: the nodes whose replies are judged.
        system: A system message, sent word for word before the others; the caller's messages, tools and formats are kept.
        prompt: A template; None sends the caller's messages as they are.
        quotes: For a verifier that asks a model: the most bytes of each node's answer that its prompt shows.
        confidence: For a verifier that asks a model: the source of its score.
        qualified: For a prescreen: a regular expression that a qualifying reply matches (ignoring case).
        visits: The most visits of one walk.
        hedge_us: The time without a reply after which a second call is made beside the first; None never.
        first_token_us: The longest wait for the first token of a streamed reply, thoughts included; None is no bound.
        between_tokens_us: The longest wait between two tokens of one.
        stream: None holds a reply back until it is whole; 0 passes it on as it comes; N does so from its N-th token on, if
            what was seen by then would be served.
        weights: For a classifier: its file of trained weights, relative to the graph's folder as the author wrote it.
        url: For a classifier: the service's address; `${NAME}` is read from the environment when a mesh opens.
        key_env: For a classifier: the environment variable that holds the key for *url*.
        function: For a classifier: the user's own, as `package.module:function`.
        labels: For a classifier that asks a model: the answers it may give.
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
    system: str | None = None
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
    first_token_us: int | None = None
    between_tokens_us: int | None = None
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
    The recording of prompts and answers, and the functions (`module:function`) that redact them first.
    """

    content: bool = False
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """
    A whole graph as its author wrote it.

    Args:
        allowed_sampling: The sampling parameters that callers may set.
        pressure_from: The used share of the walk's own limits from which `budget.request.pressure` rises above 0.
        budgets: The budgets that many walks share, by scope.
        prices: The version of its prices, as its author or its price table names it.
        hashes: SHA-256 of each file that the graph names, by the key that names it (`backends.replayed.data`).
        broken: Names of parts (nodes, backends, attributes, thresholds) that are not fully known because their own text is at
            fault; others may still refer to them.
        broken_in: The same names by the section of the text they stand in (`request`, `nodes`, …).
        problems: The loader's findings; a graph with errors here never becomes a plan.
        folder: The folder that relative paths start at.
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
    broken_in: Mapping[str, frozenset[str]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    folder: str = "."
