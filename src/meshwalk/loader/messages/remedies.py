"""
Remedies for values that their authors mean well: tables as they may be written, and the words and units of other languages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


# A table as it may be written, by the beginning of its name in sentences.
_TABLES: Mapping[str, str] = {
    "'confidence'": "confidence: {from: mean_token_probability, missing: 0}",
    "'score'": 'score: {from: stated, pattern: "SCORE: ([0-9.]+)"}',
    "'usd_per_mtok'": "usd_per_mtok: {input: 0.15, output: 0.6}",
    "'latency'": "latency: {p50: 20s, p99: 40s}",
    "'failure'": "failure: {rate: 0.1, class: unavailable}",
    "'backoff'": "backoff: {first: 100ms, max: 2s}",
    "'queue'": "queue: {length: 100, wait: 5s}",
    "'template'": "template: {per_request: 40, per_message: 12}",
    "'qualified'": 'qualified: {matches: "^yes"}',
    "'limits'": "limits: {hops: 4, deadline: 30s}",
    "'request'": "request: {tier: {type: string, enum: [free, paid]}}",
    "'thresholds'": "thresholds: {confident: {value: 0.8, range: [0, 1]}}",
    "'backends'": "backends: {small: {kind: openai, model: NAME}}",
    "'nodes'": "nodes: {small: {role: answer, backend: small, next: done}}",
    "attribute ": "tier: {type: string, enum: [free, paid]}",
    "threshold ": "confident: {value: 0.8, range: [0, 1]}",
    "backend ": "small: {kind: openai, model: NAME}",
    "node ": "small: {role: answer, backend: small, next: done}",
    "signal ": "risk: {type: number, range: [0, 1]}",
    "the reply of ": "small: {text: hello, confidence: 0.9}",
}

# Names of types in other languages, and ours.
_OTHER_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("enum", "choice", "category", "one_of"), "write type: string, and enum: [a, b] beside it"),
    **dict.fromkeys(("str", "text"), "write type: string"),
    **dict.fromkeys(("int", "integer", "float", "double", "decimal"), "write type: number"),
    **dict.fromkeys(("boolean", "flag"), "write type: bool"),
}

_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")

# Units of other languages: how many of ours, and which.
_OTHER_UNITS = {
    "seconds?|secs?": (1, "s"),
    "minutes?|mins?": (1, "m"),
    "hours?|hrs?": (1, "h"),
    "d|days?": (24, "h"),
    "w|weeks?": (7 * 24, "h"),
    "milliseconds?|msecs?": (1, "ms"),
}


def table_for(what: str) -> str:
    """
    Return an example of the table that *what* takes; empty if there is none.
    """
    return next((f"for example {example}" for start, example in _TABLES.items() if what.startswith(start)), "")


def type_for(word: str) -> str:
    """
    Return our name for a type of another language; empty if it is none.
    """
    return _OTHER_TYPES.get(word.lower(), "")


def number_in(text: str) -> str:
    """
    Return the number that *text* means, as a remedy; empty if it means none.
    """
    if match := _PERCENT.fullmatch(text):
        return f"write {float(match[1]) / 100:g}"
    try:
        return f"write {float(text):g} without quotes" if text.isascii() else ""
    except ValueError:
        return ""


def duration_in(text: str) -> str:
    """
    Return the duration that *text* means in our units, as a remedy; empty if it means none.
    """
    for unit, (factor, ours) in _OTHER_UNITS.items():
        if match := re.fullmatch(rf"\s*([0-9]{{1,6}}(?:\.[0-9]{{1,3}})?)\s*(?:{unit})\s*", text, re.ASCII | re.IGNORECASE):
            return f"write {float(match[1]) * factor:g}{ours}"

    match = re.fullmatch(r"\s*([0-9.]+)\s+(us|ms|s|m|h)\s*", text, re.ASCII)

    return f"write {match[1]}{match[2]}" if match else ""
