"""
The spellings of one and the same thing at different servers, as tables.

Every field that is read from an answer is named here and nowhere else.  A spelling is taken where its meaning is beyond doubt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache


# ---- reasons to finish ----------------------------------------------------------------------------------------------

FINISH_REASON_FIELDS = ("finish_reason", "finishReason", "done_reason")
NATIVE_REASON_FIELDS = ("native_finish_reason", "nativeFinishReason")

_REASONS: Mapping[str, tuple[str, ...]] = {
    "stop": (
        "stop stopped eos eos_token eos_token_id end_of_sequence end_of_text stop_sequence stop_str stop_token stop_word",
        "stop_words end end_turn end_of_turn im_end eot eot_id complete completed finish finished done normal",
    ),
    "length": (
        "length max_tokens max_length max_output_tokens max_new_tokens max_completion_tokens max_output model_length",
        "token_limit context_length length_limit length_capped truncated context_window model_context_window_exceeded",
        "context_length_exceeded",
    ),
    "tool_calls": ("tool_calls tool_call tool_use function_call function_calls function",),
    "content_filter": (
        "content_filter content_filtered safety recitation blocklist prohibited_content spii sensitive refusal refused blocked",
        "guardrail_intervened moderation moderated flagged content_policy content_policy_violation safety_filter image_safety",
    ),
}
_REASON_OF = {word: reason for reason, words in _REASONS.items() for word in " ".join(words).split()}

# A reply that ended so is none: its server gave it up.
BROKEN_REASONS = frozenset({
    "error", "abort", "aborted", "cancelled", "canceled", "failed", "failure", "network_error", "server_error",
    "internal_error", "insufficient_system_resource", "malformed_function_call",
    "engine_error", "provider_error", "overloaded", "timeout", "internal_server_error", "upstream_error", "connection_error",
    "service_unavailable", "server_overloaded", "exception", "disconnected", "unexpected_tool_call",
})  # fmt: skip

_BETWEEN_WORDS = re.compile(r"[\s\-./<>|]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST_REASON = 40


def folded(word: str) -> str:
    """
    Write *word* in small letters, with one underscore between its parts: `maxTokens` is `max_tokens`.
    """
    return _CAMEL.sub("_", _BETWEEN_WORDS.sub("_", word.strip())).lower().strip("_")


def reason_of(given: object) -> str:
    """
    Return why a reply ended, in the protocol's words where they are known; empty where nothing is said.
    """
    if isinstance(given, dict):
        given = given.get("type") or given.get("reason")
    if not isinstance(given, str) or not given.strip():
        return ""
    word = folded(given)

    return _REASON_OF.get(word, word if word in BROKEN_REASONS else given.strip()[:_LONGEST_REASON])


# ---- tokens ---------------------------------------------------------------------------------------------------------


def index_of(given: object, otherwise: int) -> int:
    """
    Return the index that *given* is, a number or a text of digits.
    """
    if type(given) is int:
        return given
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 6:
        return int(given)

    return int(given) if isinstance(given, float) and given.is_integer() and abs(given) < 1e6 else otherwise


USAGE_FIELDS = ("usage", "usage_metadata", "usageMetadata")
USAGE_WRAPPERS = ("x_groq",)
COST_FIELDS = ("cost", "total_cost", "cost_usd", "total_cost_usd", "estimated_cost")

# A usage without counts of its own has them under one of these names.
USAGE_INSIDE = ("billed_units", "tokens", "usage")

# An answer with this field has its counts beside its choices.
TOP_COUNT_FIELD = "eval_count"

# The parts that are counted, with the names of their counts in snake case; the first that fits.
_COUNTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("", re.compile(r".*cache.*miss.*")),
    ("cache_write", re.compile(r".*cach.*_(?:creation|write|written|created)(?:_input)?(?:_tokens?|_token_count)?")),
    ("cached", re.compile(r"(?:.*_)?(?:cached|cache_read|cache_hit)(?:_.*)?(?:tokens?|token_count|count)")),
    ("reasoning", re.compile(r"(?:.*_)?(?:reasoning|thinking|thoughts?)(?:_output)?_(?:tokens?|token_count)")),
    ("input", re.compile(r"(?:num_|n_)?(?:prompt|input)_(?:tokens?|token_count|tokens_count|eval_count)")),
    (
        "output",
        re.compile(
            r"(?:num_|n_)?(?:completion|output|generated|generation|candidates|predicted|response)_(?:tokens?|token_count|tokens_count)|"
            r"eval_count"
        ),
    ),
    ("total", re.compile(r"total_tokens?|total_token_count|tokens_total|n_total_tokens")),
)
COUNTED = ("input", "output", "total", "cached", "reasoning", "cache_write")


@lru_cache(maxsize=512)
def part_of(name: str) -> str:
    """
    Return which part of a usage the count under *name* is of; empty where it is of none.
    """
    words = folded(name) if len(name) <= _LONGEST_NAME else ""

    return next((part for part, pattern in _COUNTS if pattern.fullmatch(words)), "")


_LONGEST_NAME = 60

# Under these names a protocol of its own counts what a cache gave or took beside the rest of the input.
APART_INPUT = "input_tokens"
APART_CACHE = ("cache_read_input_tokens", "cache_creation_input_tokens")

# llama.cpp counts so where nobody asked for usage: of the prompt what it read and what it had.
TIMINGS_FIELD = "timings"
TIMED_INPUT = ("prompt_n", "cache_n")
TIMED_CACHED = ("cache_n",)
TIMED_OUTPUT = ("predicted_n",)


# ---- thoughts -------------------------------------------------------------------------------------------------------

# Several fields may say the same; the first that is not empty counts.
THOUGHT_FIELDS = (
    "reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_text", "reasoning_details", "thinking_blocks",
)  # fmt: skip
THOUGHT_PARTS = frozenset({
    "thinking", "reasoning", "thought", "reasoning_text", "reasoning.text", "reasoning.summary", "redacted_thinking",
})  # fmt: skip
TEXT_PARTS = frozenset({"text", "output_text"})


# ---- what a provider needs back -------------------------------------------------------------------------------------

CARRIED_BY_CALLS = (
    "extra_content",
    "thought_signature",
    "thoughtSignature",
    "signature",
    "encrypted_content",
    "provider_specific_fields",
)
CARRIED_BY_MESSAGES = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "reasoning_opaque",
    "thinking_blocks",
    "thought_signature",
    "signature",
    "encrypted_content",
    "reasoning_signature",
    "thinking",
    "provider_specific_fields",
    "extra_content",
)


# ---- errors ---------------------------------------------------------------------------------------------------------

ERROR_FIELDS = ("error", "errors")
CODE_FIELDS = ("code", "type", "status", "error_type", "error_code", "reason", "name", "status_code", "statusCode", "err_code")
OWN_CODE_FIELDS = ("code", "error_code", "err_code", "status_code", "statusCode", "error_type")
# Fields that report success; a false value in one is a failure.
SUCCESS_FIELDS = ("success", "ok")
WORD_FIELDS = ("message", "msg", "status_msg", "detail", "error_message", "error", "error_msg")
PROVIDER_STATUS_FIELD = "base_resp"
