"""
The names of spans, events and attributes.

The `gen_ai.*` names are those of the OpenTelemetry GenAI conventions as of 2026-11, written out here because their
constants are deprecated where they stand and the convention is moving to a repository of its own.
"""

from __future__ import annotations

from typing import Final


# Spans and events.
ROUTE: Final = "meshwalk.route"
HOP: Final = "meshwalk.hop"
DENIED: Final = "meshwalk.attempt.denied"
COMMITTED: Final = "meshwalk.stream.committed"
STOPPED: Final = "meshwalk.stream.stopped"

# The conventions'.
ERROR_TYPE: Final = "error.type"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_CACHED: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
CHAT: Final = "chat"

# The walk's.
TRAVERSAL_ID: Final = "meshwalk.traversal_id"
GRAPH: Final = "meshwalk.graph"
VERSION: Final = "meshwalk.version"
PRICES: Final = "meshwalk.prices"
PLAN_DIGEST: Final = "meshwalk.plan_digest"
SHAPE_DIGEST: Final = "meshwalk.shape_digest"
SESSION: Final = "meshwalk.session"
WORKFLOW: Final = "meshwalk.workflow"
TENANT: Final = "meshwalk.tenant"
URGENCY: Final = "meshwalk.request.urgency"
CORRECTNESS: Final = "meshwalk.request.correctness"
OUTCOME: Final = "meshwalk.outcome"
ANSWER_NODE: Final = "meshwalk.answer_node"
PATH: Final = "meshwalk.path"
SLACK_USD: Final = "meshwalk.budget.slack_usd"

# The hop's.
HOP_INDEX: Final = "meshwalk.hop.index"
NODE: Final = "meshwalk.node"
ROLE: Final = "meshwalk.role"
VISIT: Final = "meshwalk.visit"
STATUS: Final = "meshwalk.status"
EDGE: Final = "meshwalk.edge"
SCOPE: Final = "meshwalk.budget.scope"
CONSIDERED: Final = "meshwalk.considered"
OUTPUT: Final = "meshwalk.output."  # and the output's name

# The attempt's.
ATTEMPT: Final = "meshwalk.attempt"
BACKEND: Final = "meshwalk.backend"
SIMULATED: Final = "meshwalk.simulated"
ENDPOINT: Final = "meshwalk.endpoint"
HEDGE: Final = "meshwalk.hedge"
BACKOFF_US: Final = "meshwalk.backoff_us"
TOKENS_SEEN: Final = "meshwalk.tokens_seen"
CACHE_AGE_US: Final = "meshwalk.cache_age_us"
MENDED: Final = "meshwalk.mended"  # the parts of the answer that had to be mended
OVERRUN_USD: Final = "meshwalk.overrun_usd"  # the cost past the bound that was reserved

# Attributes of several kinds of spans.
COST_USD: Final = "meshwalk.cost_usd"
COST_BASIS: Final = "meshwalk.cost_basis"
RESERVED_USD: Final = "meshwalk.reserved_usd"
INPUT_TOKENS: Final = "meshwalk.input_tokens"
OUTPUT_TOKENS: Final = "meshwalk.output_tokens"
CACHED_TOKENS: Final = "meshwalk.cached_input_tokens"
REASONING_TOKENS: Final = "meshwalk.reasoning_tokens"
ENGINE_US: Final = "meshwalk.engine_us"
BUDGET_WAIT_US: Final = "meshwalk.budget.wait_us"
QUEUE_US: Final = "meshwalk.queue_us"
CONNECT_US: Final = "meshwalk.connect_us"
FIRST_BYTE_US: Final = "meshwalk.first_byte_us"
