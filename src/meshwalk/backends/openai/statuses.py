"""
The meaning of an error: its class, whether the endpoint is at fault, and whether asking again is of any use.

The code in a body says it first, then the number, then the words.  An endpoint whose key, credit or model is gone is at fault
itself: another one may well answer the same request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from meshwalk.backends.openai import spellings
from meshwalk.backends.openai.json_text import NotJsonError, loads
from meshwalk.model.problems import BackendError, Overloaded, RateLimited, RefusedByModel, TooLong


class Meaning(NamedTuple):
    """
    The meaning of an error.

    Args:
        of_endpoint: Whether the endpoint is at fault, and not the request.
        final: Whether a further call here would end in the same way for a long while.
        bad_key: Whether it is about the key, so that a part of it may stand in the provider's words.
    """

    error: type[BackendError]
    of_endpoint: bool = False
    final: bool = False
    bad_key: bool = False


_DEAD_CODE = re.compile(
    r"insufficient_(?:user_)?quota|insufficient_(?:credits?|balance|funds)|billing|payment_required|out_of_credits|"
    r"credits?_exhausted|quota_exhausted|account_(?:suspended|deactivated)|arrears"
)
_DEAD_WORDS = re.compile(
    r"check your plan and billing|exceeded your current quota|insufficient (?:credits?|balance|funds|quota)|out of credits?|"
    r"credit balance is too low|no credits? (?:left|remaining)|(?:spend|spending|billing)(?: hard)? limit|good standing|"
    r"per[- ]day\b|\bdaily (?:[a-z]+ )?(?:limit|quota|allowance)|\bmonthly (?:[a-z]+ )?(?:limit|quota|allowance)",
    re.IGNORECASE,
)

# By the code, the first that fits.
_TOO_LONG_CODE = re.compile(
    r"context_length|context_size|context_window|prompt_too_long|input_too_long|max_context|string_above_max_length|"
    r"request_too_large|tokens_limit_reached|model_max_prompt_tokens"
)
_CODES: tuple[tuple[re.Pattern[str], Meaning], ...] = (
    (re.compile(r"rate_?limit|too_many_requests|throttl|quota|resource_exhausted|per_min|usage_limit"), Meaning(RateLimited)),
    (_TOO_LONG_CODE, Meaning(TooLong)),
    (re.compile(r"api_?key|authenticat|unauthori[sz]ed|credential"), Meaning(RefusedByModel, of_endpoint=True, bad_key=True)),
    (
        re.compile(r"model_not_found|model_not_available|model_disabled|deployment_not_found|permission_denied"),
        Meaning(RefusedByModel, of_endpoint=True),
    ),
    (re.compile(r"content_filter|moderation|content_policy|safety"), Meaning(RefusedByModel)),
    (
        re.compile(
            r"overload|unavailable|capacity|server_error|internal|time_?out|timed_out|busy|try_again|bad_gateway|api_connection|"
            r"engine|upstream|network|loading|generation\b"
        ),
        Meaning(Overloaded),
    ),
    (
        re.compile(r"invalid|unsupported|not_found|bad_request|unprocessable|validation|not_supported|refus|forbidden"),
        Meaning(RefusedByModel),
    ),
)

# Words that say of a request of whatever number that it does not fit the model's window.
_TOO_LONG_WORDS = re.compile(
    r"context (?:length|size|window)|maximum context|maximum (?:prompt|input|model) length|"
    r"(?:prompt|input|request|messages?|conversation) (?:is|are) too (?:long|large)|"
    r"too many (?:input |prompt )?tokens|longer than the (?:model'?s|maximum)|"
    r"exceeds? the (?:model'?s )?(?:maximum|max)[\w ]* tokens|"
    r"reduce the length|max_new_tokens.{0,40} must be <=|exceed(?:s|ed)? .{0,30}(?:token limit|window)|"
    r"(?:prompt|input)s?`? (?:token count|tokens|length).{0,40}exceeds?|"
    r"(?:prompt|input)s? exceeds? .{0,20}(?:length|limit|tokens)|inputs`? must have less than \d+ tokens|range of input length",
    re.IGNORECASE,
)
_TOO_LONG_NUMBERS = frozenset({400, 413, 422, 500})
_LIMIT_WORDS = re.compile(
    r"rate.?limit|too many requests|\bquota\b|slow down|tokens per minute|requests per minute|throttl", re.IGNORECASE
)
_KEY_WORDS = re.compile(r"api[ _-]?key|credential|unauthori[sz]ed|authenticat|access token|bearer|\bkey\b", re.IGNORECASE)
_REFUSED_KEY_WORDS = re.compile(
    r"(?:api[ _-]?key|credential)s?\W+(?:\w+\W+){0,4}?(?:invalid|incorrect|not valid|missing|expired|required|revoked)|"
    r"(?:invalid|incorrect|missing|expired|wrong|revoked|no)\W+(?:\w+\W+){0,3}?(?:api[ _-]?key|credential)",
    re.IGNORECASE,
)
_MODERATION_WORDS = re.compile(r"flagged|moderat|safety|content policy|violat|filtered", re.IGNORECASE)

# Words about a part of the request that the model does not take; some servers say so with a number of their own faults.
_UNSUPPORTED_WORDS = re.compile(
    r"\b(?:images?|audio|videos?|files?|multi-?modal|vision|tools?|functions?|tool[_ ]choice|response[_ ]format|json[_ ]schema|"
    r"logprobs|streaming)\b(?: \w+){0,4} (?:is|are) (?:not|un)[ -]?supported|"
    r"(?:does|do|did) not (?:support|accept|take)(?: \w+){0,3} "
    r"(?:images?|audio|videos?|files?|multi-?modal\w*|vision|tools?|functions?|streaming|logprobs)\b",
    re.IGNORECASE,
)
_UNSUPPORTED_NUMBERS = frozenset({500, 501})
_OVERLOADED_NUMBERS = frozenset({408, 409, 423, 424, 425, 498, 499})
_HTTP = range(400, 600)


def error_in(body: Any) -> Any:
    """
    Return the error in a body that has no answer, an object or a text; None if there is none.
    """
    if isinstance(body, list):
        return error_in(body[0]) if len(body) == 1 else None
    if not isinstance(body, dict):
        return None
    for field in spellings.ERROR_FIELDS:
        given = body.get(field)
        if isinstance(given, list):
            given = next((one for one in given if one), None)
        if _says_something(given):
            return given
    if body.get("object") == "error" or body.get("type") == "error":
        return body
    status = body.get(spellings.PROVIDER_STATUS_FIELD)
    if isinstance(status, dict) and status.get("status_code"):
        return status

    return body if "choices" not in body and _is_error(body) else None


def _says_something(given: Any) -> bool:
    return any(given.values()) if isinstance(given, dict) else bool(given)


def _is_error(body: Mapping[str, Any]) -> bool:
    """
    Tell whether a mapping without choices has the code of an error, and words for it.
    """
    if not words_of(body):
        return False
    if any(body.get(field) is False for field in spellings.SUCCESS_FIELDS):
        return True
    codes = list(_codes_of([{field: body.get(field) for field in spellings.OWN_CODE_FIELDS}]))
    if isinstance(body.get("status"), int):
        codes.append(body["status"])
    named = " ".join(code for code in codes if isinstance(code, str))

    return any(code in _HTTP for code in codes if isinstance(code, int)) or bool(
        named and (_DEAD_CODE.search(named) or any(pattern.search(named) for pattern, _ in _CODES))
    )


def words_of(error: Any) -> str:
    """
    Return the words of an error, however deep they stand.
    """
    if isinstance(error, str):
        return error
    if isinstance(error, list):
        return " ".join(filter(None, map(words_of, error[:10])))
    if isinstance(error, dict):
        return next((words for field in spellings.WORD_FIELDS if (words := words_of(error.get(field)))), "")

    return ""


def _nested(error: Any, words: str) -> list[Any]:
    """
    Return an error with those inside it, which gateways wrap as they are or as text.
    """
    found = [error]
    for _ in range(_DEPTH):
        inner = found[-1].get("error") if isinstance(found[-1], dict) else None
        if not isinstance(inner, dict):
            break
        found.append(inner)
    if words.lstrip().startswith("{"):
        try:
            quoted = loads(words.encode("utf-8", "replace"))[0]
        except NotJsonError:
            quoted = None
        if isinstance(quoted, dict):
            found.append(error_in(quoted) or quoted)

    return found


_DEPTH = 4


def _codes_of(errors: Iterable[Any]) -> Iterator[str | int]:
    for error in errors:
        if not isinstance(error, dict):
            continue
        for field in spellings.CODE_FIELDS:
            code = error.get(field)
            if isinstance(code, int) and not isinstance(code, bool):
                yield code
            elif isinstance(code, str) and code.strip():
                text = code.strip()
                yield int(text) if text.isascii() and text.isdigit() and len(text) < 6 else _code(text)


def _code(code: str) -> str:
    """
    Write a code in small letters with underscores, `RateLimitError` as `rate_limit_error`.
    """
    return spellings.folded(code)


# The codes that a record may hold of an error; any other may be a text.
_SAID_CODES = frozenset({
    "api_error", "authentication_error", "bad_request", "billing_not_active", "content_filter", "content_policy_violation",
    "context_length_exceeded", "credits_exhausted", "deployment_not_found", "engine_overloaded", "exceed_context_size_error",
    "forbidden", "insufficient_quota", "internal_error", "internal_server_error", "invalid_api_key", "invalid_argument",
    "invalid_request", "invalid_request_error", "invalid_value", "model_not_found", "model_overloaded", "moderation",
    "moderation_blocked", "not_found", "not_found_error", "overloaded", "overloaded_error", "payment_required",
    "permission_denied", "permission_error", "quota_exceeded", "rate_limit_error", "rate_limit_exceeded", "request_too_large",
    "requests", "resource_exhausted", "responsible_ai_policy_violation", "server_error", "service_unavailable",
    "string_above_max_length", "timeout", "tokens", "tokens_limit_reached", "too_many_requests", "unauthorized", "unavailable",
    "unprocessable_entity", "unsupported_parameter", "unsupported_value", "upstream_error", "validation_error",
})  # fmt: skip


def code_of(body: Any) -> str:
    """
    Return the code of an error where it is a known one; else nothing.
    """
    error = error_in(body)

    return next((code for code in _codes_of([error, body]) if isinstance(code, str) and code in _SAID_CODES), "")


def meaning_of(number: int | None, body: Any) -> Meaning:
    """
    Return the `Meaning` of an error.

    Args:
        number: The status of the answer; None where the error stands inside an answer of status 200.
        body: The body as JSON where it is that, else its text.
    """
    error = error_in(body)
    words = words_of(error) or words_of(body)
    codes = list(_codes_of([*_nested(error, words), body] if error is not body else [error]))
    named = " ".join(code for code in codes if isinstance(code, str))
    numbers = [code for code in codes if isinstance(code, int) and code in _HTTP]
    stated = numbers[0] if numbers else number
    if _DEAD_CODE.search(named):
        return Meaning(RateLimited, of_endpoint=True, final=True)
    meaning = _by_code(named, stated, words)
    if meaning is None:
        meaning = _by_number(stated, words) if stated is not None else _by_words(words)
    if meaning.error is Overloaded and stated in _UNSUPPORTED_NUMBERS and _UNSUPPORTED_WORDS.search(words):
        return Meaning(RefusedByModel)
    if meaning.error is RateLimited and _DEAD_WORDS.search(words):
        return meaning._replace(of_endpoint=True, final=True)

    return meaning


def _by_code(named: str, number: int | None, words: str) -> Meaning | None:
    for pattern, meaning in _CODES:
        if pattern.search(named):
            vague = meaning.error in (RefusedByModel, Overloaded) and not meaning.of_endpoint
            if vague and (number is None or number in _TOO_LONG_NUMBERS) and _TOO_LONG_WORDS.search(words):
                return Meaning(TooLong)
            if vague and meaning.error is RefusedByModel and number is not None:
                # The number says more than a type that fits every mistake.
                return _by_number(number, words)
            return meaning

    return None


def _by_number(number: int, words: str) -> Meaning:
    if number == 429:
        return Meaning(RateLimited)
    if number in _TOO_LONG_NUMBERS and _TOO_LONG_WORDS.search(words):
        return Meaning(TooLong)
    if number == 413:
        return Meaning(RateLimited if _LIMIT_WORDS.search(words) else TooLong)
    if number in _OVERLOADED_NUMBERS or number >= 500:
        return Meaning(Overloaded)
    if number == 401:
        return Meaning(RefusedByModel, of_endpoint=True, bad_key=True)
    if number == 403:
        about_key = not words or bool(_KEY_WORDS.search(words))
        return Meaning(RefusedByModel, of_endpoint=not _MODERATION_WORDS.search(words), bad_key=about_key)
    if number in {402, 404, 410}:
        return Meaning(RefusedByModel, of_endpoint=True, final=number == 402)
    if number == 400 and _DEAD_WORDS.search(words):
        return Meaning(RefusedByModel, of_endpoint=True, final=True)
    if _REFUSED_KEY_WORDS.search(words):
        return Meaning(RefusedByModel, of_endpoint=True, bad_key=True)

    return Meaning(RefusedByModel)


def _by_words(words: str) -> Meaning:
    if _LIMIT_WORDS.search(words):
        return Meaning(RateLimited)
    if _TOO_LONG_WORDS.search(words):
        return Meaning(TooLong)
    if _REFUSED_KEY_WORDS.search(words):
        return Meaning(RefusedByModel, of_endpoint=True, bad_key=True)

    return Meaning(Overloaded)
