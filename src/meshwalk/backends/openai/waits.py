"""
The wait that a provider asks for, read wherever providers say it.

`Retry-After` says it first.  Else it is the longest of what the details of the body say, of what its words say, and of the
reset headers of whatever has nothing left.  Nonsense says nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from meshwalk.backends.openai.spellings import folded
from meshwalk.backends.openai.statuses import error_in, words_of


# Nobody is left alone for longer, whatever a header says.
_LONGEST_REST_US = 86_400_000_000

_NUMBER = re.compile(r"[0-9]{1,14}(\.[0-9]{1,12})?")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_IN_WORDS = re.compile(
    r"(?:try again|retry|wait|available again|resets?|reset after)\D{0,24}?(?:in|after|for|at least)?\s*"
    r"((?:\d+(?:\.\d+)?\s*(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s|milliseconds?|ms)(?![a-z])[\s,]*(?:and\s+)?)+)",
    re.IGNORECASE,
)
_WORDED = re.compile(
    r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])", re.IGNORECASE
)
_WORDED_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_BODY_FIELD = re.compile(r"(?:retry_?(?:after|delay|in)|resets?_(?:in|after)|wait)(?:_(seconds|secs|s|ms|milliseconds))?")
_BODY_RESET = re.compile(r"resets?_at|reset_time")
_DEPTH = 6

# The remaining part and the reset of an allowance, as one header tells of both.
_NOTHING_LEFT = re.compile(r";\s*r=0\s*;\s*t=(\d{1,9})")

# Seconds of the clock, and milliseconds of it, are told from a wait by their size.
_CLOCK_S = 1e9
_CLOCK_MS = 1e12


def wait_us(headers: Mapping[str, str], body: Any) -> int | None:
    """
    Return the time that a provider asks to be left alone, in microseconds; None if it does not say.
    """
    known = {name.lower(): value for name, value in headers.items()}
    asked = _retry_after_us(known)
    if asked is not None:
        return asked
    now = _unix_s(known.get("date", ""))
    found = [*_in_body(body, 0), *_resets(known, time.time() if now is None else now)]
    found += _in_words(words_of(error_in(body)) or words_of(body))

    return _bounded(max(found)) if found else None


def _bounded(seconds: float) -> int:
    return min(max(0, round(seconds * 1_000_000)), _LONGEST_REST_US)


def _retry_after_us(headers: Mapping[str, str]) -> int | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name, "").strip()
        if _NUMBER.fullmatch(given):
            return _bounded(float(given) * unit)
    if seconds := _duration_s(headers.get("retry-after", "")):
        return _bounded(seconds)
    until = _unix_s(headers.get("retry-after", ""))
    if until is None:
        return None
    # By the provider's own clock, where it says what that shows.
    now = _unix_s(headers.get("date", ""))

    return _bounded(until - (time.time() if now is None else now))


def _unix_s(date: str) -> float | None:
    if not date:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(date).timestamp()
        except (ValueError, OverflowError):
            continue

    return None


def _duration_s(given: Any) -> float | None:
    """
    Read a duration as a number of seconds, or as `6m0s` or `120ms`.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given) if 0 <= given < _CLOCK_S else None
    if isinstance(given, dict):
        return _duration_s(given.get("seconds"))
    if not isinstance(given, str):
        return None
    text = given.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None

    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS_S, strict=True) if part)


def _wait_in(name: str, value: Any) -> float | None:
    """
    Return the seconds that a field of a body tells of; None where it is about something else.
    """
    field = folded(name) if len(name) < _LONGEST_FIELD else ""
    if _BODY_RESET.fullmatch(field):
        return _until_s(value if isinstance(value, str) else str(value), time.time())
    match = _BODY_FIELD.fullmatch(field)
    seconds = None if match is None else _duration_s(value)
    if seconds is None or match is None:
        return None

    return seconds / 1000 if (match[1] or "").startswith("m") else seconds


_LONGEST_FIELD = 40


def _in_body(body: Any, depth: int) -> Iterator[float]:
    if depth > _DEPTH:
        return
    if isinstance(body, list):
        for one in body[:20]:
            yield from _in_body(one, depth + 1)
    elif isinstance(body, dict):
        for name, value in body.items():
            seconds = _wait_in(name, value)
            if seconds is not None:
                yield seconds
            elif name == "headers" and isinstance(value, dict):
                # A gateway tells what its provider's headers said.
                texts = {str(key).lower(): str(one) for key, one in value.items()}
                asked = _retry_after_us(texts)
                if asked is not None:
                    yield asked / 1e6
                yield from _resets(texts, time.time())
            elif isinstance(value, dict | list):
                yield from _in_body(value, depth + 1)


def _resets(headers: Mapping[str, str], now: float) -> Iterator[float]:
    """
    Yield when each allowance comes back of which nothing is left.
    """
    for match in _NOTHING_LEFT.finditer(headers.get("ratelimit", "")):
        yield float(match[1])
    for name, value in headers.items():
        if "ratelimit" not in name or "remaining" not in name or not _NUMBER.fullmatch(value.strip()) or float(value) > 0:
            continue
        seconds = _until_s(headers.get(name.replace("remaining", "reset"), ""), now)
        if seconds is not None:
            yield seconds


def _until_s(given: str, now: float) -> float | None:
    seconds = _duration_s(given)
    if seconds is None:
        date = _unix_s(given)
        return None if date is None else max(0.0, date - now)
    if seconds >= _CLOCK_MS / 10:
        return max(0.0, seconds / 1000 - now)

    return max(0.0, seconds - now) if seconds >= _CLOCK_S else seconds


def _in_words(words: str) -> list[float]:
    found = []
    for match in _IN_WORDS.finditer(words[:2000]):
        total = 0.0
        for number, unit in _WORDED.findall(match[1]):
            short = unit.lower()
            total += float(number) * (0.001 if short.startswith(("ms", "milli")) else _WORDED_S[short[0]])
        found.append(total)

    return found
