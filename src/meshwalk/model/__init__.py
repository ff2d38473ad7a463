"""
What an author said: a graph as plain, frozen data, each part with its place in the text.

The loader makes these and everyone else reads them.  Names refer to each other as text here; `plan` resolves them.
Times are whole microseconds, money is whole nano-dollars (recorded real costs are not whole micro-dollars).
"""

from __future__ import annotations

from meshwalk.model.backends import (
    AnyBackendSpec,
    BackendSpec,
    Breaker,
    CacheSpec,
    Endpoint,
    LocalSpec,
    OpenAISpec,
    Price,
    PythonSpec,
    RecordedSpec,
    SimulatedSpec,
    Traffic,
)
from meshwalk.model.graph import (
    Attribute,
    Backoff,
    Confidence,
    Edge,
    Graph,
    Node,
    Recording,
    Sampling,
    Threshold,
)
from meshwalk.model.limits import (
    DEFAULT_HOPS,
    DEFAULT_INPUT_BYTES,
    MOST_SHARED_COUNT,
    MOST_SHARED_USD,
    PRESSURE_FROM,
    SCOPE_CHARACTERS,
    URGENCY_DEADLINES_US,
    Amount,
    Budget,
    Caps,
    Limits,
)
from meshwalk.model.values import (
    DONE,
    NOT_UNICODE,
    AwayPolicy,
    ConfidenceSource,
    Extractor,
    Role,
    ScopeKind,
    ScoreSource,
    Value,
    ValueType,
    is_unicode,
    nano_usd_or_none,
)


__all__ = [
    "DEFAULT_HOPS",
    "DEFAULT_INPUT_BYTES",
    "DONE",
    "MOST_SHARED_COUNT",
    "MOST_SHARED_USD",
    "NOT_UNICODE",
    "PRESSURE_FROM",
    "SCOPE_CHARACTERS",
    "URGENCY_DEADLINES_US",
    "Amount",
    "AnyBackendSpec",
    "Attribute",
    "AwayPolicy",
    "BackendSpec",
    "Backoff",
    "Breaker",
    "Budget",
    "CacheSpec",
    "Caps",
    "Confidence",
    "ConfidenceSource",
    "Edge",
    "Endpoint",
    "Extractor",
    "Graph",
    "Limits",
    "LocalSpec",
    "Node",
    "OpenAISpec",
    "Price",
    "PythonSpec",
    "RecordedSpec",
    "Recording",
    "Role",
    "Sampling",
    "ScopeKind",
    "ScoreSource",
    "SimulatedSpec",
    "Threshold",
    "Traffic",
    "Value",
    "ValueType",
    "is_unicode",
    "nano_usd_or_none",
]
