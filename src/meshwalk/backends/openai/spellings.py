"""
The spellings of one and the same thing at different servers, as tables.

Every field that is read from an answer is named here and nowhere else.  A spelling is taken where its meaning is beyond doubt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


# ---- reasons to finish ----------------------------------------------------------------------------------------------

FINISH_REASON_FIELDS = ("finish_reason", "finishReason", "done_reason")
NATIVE_REASON_FIELDS = ("native_finish_reason", "nativeFinishReason")

_REASONS: Mapping[str, tuple[str, ...]] = {
    "stop": (
        "stop eos eos_token stop_sequence stop_str stop_token stop_word end end_turn end_of_text",
        "complete completed finish finished done",
    ),
    "length": (
        "length max_tokens max_length max_output_tokens max_new_tokens model_length token_limit",
        "context_length length_limit",
    ),
    "tool_calls": ("tool_calls tool_call tool_use function_call function_calls",),
    "content_filter": (
        "content_filter content_filtered safety recitation blocklist prohibited_content spii sensitive refusal",
        "guardrail_intervened moderation",
    ),
}
_REASON_OF = {word: reason for reason, words in _REASONS.items() for word in " ".join(words).split()}

# A reply that ended so is none: its server gave it up.
BROKEN_REASONS = frozenset({
    "error", "abort", "aborted", "cancelled", "canceled", "failed", "failure", "network_error", "server_error",
    "internal_error", "insufficient_system_resource", "malformed_function_call",
    "engine_error", "provider_error", "overloaded", "timeout",
})  # fmt: skip

_BETWEEN_WORDS = re.compile(r"[\s\-./]+")
_LONGEST_REASON = 40


def folded(word: str) -> str:
    """
    Write *word* in small letters, with one underscore between its parts.
    """
    return _BETWEEN_WORDS.sub("_", word.strip()).lower()


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

USAGE_FIELDS = ("usage", "usage_metadata", "usageMetadata")
USAGE_WRAPPERS = ("x_groq",)
COST_FIELDS = ("cost",)

COUNTS: Mapping[str, tuple[str, ...]] = {
    "input": ("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount", "prompt_eval_count"),
    "output": (
        "completion_tokens",
        "output_tokens",
        "completionTokens",
        "outputTokens",
        "candidatesTokenCount",
        "generated_tokens",
        "eval_count",
    ),
    "total": ("total_tokens", "totalTokens", "totalTokenCount"),
    "cached": (
        "cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
        "cache_read_tokens",
        "cached_input_tokens",
        "cached_prompt_tokens",
        "num_cached_tokens",
        "cacheReadInputTokens",
        "cachedContentTokenCount",
    ),
    "reasoning": ("reasoning_tokens", "thinking_tokens", "thought_tokens", "reasoning_output_tokens", "thoughtsTokenCount"),
    "cache_write": (
        "cache_creation_input_tokens",
        "cache_creation_tokens",
        "cache_write_tokens",
        "cache_write_input_tokens",
        "cacheWriteInputTokens",
        "cacheCreationInputTokens",
    ),
}

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

CARRIED_BY_CALLS = ("extra_content", "thought_signature", "thoughtSignature", "signature", "encrypted_content")
CARRIED_BY_MESSAGES = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "reasoning_opaque",
    "thinking_blocks",
    "thought_signature",
    "signature",
    "encrypted_content",
    "extra_content",
)


# ---- errors ---------------------------------------------------------------------------------------------------------

ERROR_FIELDS = ("error", "errors")
CODE_FIELDS = ("code", "type", "status", "error_type", "error_code", "reason", "name", "status_code", "err_code")
WORD_FIELDS = ("message", "msg", "status_msg", "detail", "error_message", "error", "error_msg")
PROVIDER_STATUS_FIELD = "base_resp"
