"""
The code in a body says first what an error means, then the number, then the words.
"""

from __future__ import annotations

from typing import Any

import pytest

from meshwalk.backends.openai.statuses import meaning_of


@pytest.mark.parametrize(
    ("number", "body", "error_class", "of_endpoint", "final"),
    [
        (429, {}, "rate_limited", False, False),
        (429, {"error": {"code": "insufficient_quota"}}, "rate_limited", True, True),
        (429, {"error": {"message": "free-models-per-day is used up"}}, "rate_limited", True, True),
        (413, {"error": {"code": "rate_limit_exceeded"}}, "rate_limited", False, False),
        (413, "", "too_long", False, False),
        (400, {"error": {"code": "context_length_exceeded"}}, "too_long", False, False),
        (400, {"error": {"type": "exceed_context_size_error", "code": 400}}, "too_long", False, False),
        (400, {"error": {"message": "The input is longer than the model's context"}}, "too_long", False, False),
        (
            422,
            {"error": "`inputs` tokens + `max_new_tokens` must be <= 40", "error_type": "x"},
            "too_long",
            False,
            False,
        ),
        (400, {"error": {"code": "content_filter"}}, "refused_by_model", False, False),
        (400, {"error": {"message": "API key not valid"}}, "refused_by_model", True, False),
        (401, "", "refused_by_model", True, False),
        (402, {"error": {"message": "pay first"}}, "refused_by_model", True, True),
        (403, {"error": {"message": "flagged by moderation"}}, "refused_by_model", False, False),
        (404, {}, "refused_by_model", True, False),
        (409, {}, "overloaded", False, False),
        (424, {"error": "out of memory", "error_type": "generation"}, "overloaded", False, False),
        (498, {"error": {"code": "capacity_exceeded"}}, "overloaded", False, False),
        (500, {"error": {"type": "server_error"}}, "overloaded", False, False),
        (
            500,
            {
                "error": {
                    "code": 500,
                    "message": "image input is not supported - hint: load a projector",
                    "type": "server_error",
                }
            },
            "refused_by_model",
            False,
            False,
        ),
        (
            500,
            {"error": {"message": "It does not support audio", "type": "server_error"}},
            "refused_by_model",
            False,
            False,
        ),
        (501, {"error": {"message": "tools are not supported here"}}, "refused_by_model", False, False),
        (503, {"error": {"message": "image input is not supported"}}, "overloaded", False, False),
        (500, {"error": {"message": "the image cannot be fetched now"}}, "overloaded", False, False),
        (502, {"error": {"code": 429}}, "rate_limited", False, False),
        (None, {"error": "the model is loading"}, "overloaded", False, False),
        (None, {"error": {"type": "RateLimitError"}}, "rate_limited", False, False),
        (None, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, "rate_limited", False, False),
        (None, {"error": {"type": "invalid_request_error"}}, "refused_by_model", False, False),
        (None, [{"error": {"status": "RESOURCE_EXHAUSTED", "code": 429}}], "rate_limited", False, False),
    ],
)
def test_an_error_has_a_meaning(number: int | None, body: Any, error_class: str, of_endpoint: bool, final: bool) -> None:
    """
    Its class, whether the endpoint is at fault, and whether asking again is of any use.
    """
    meaning = meaning_of(number, body)

    assert (error_class, of_endpoint, final) == (meaning.error.error_class, meaning.of_endpoint, meaning.final)
