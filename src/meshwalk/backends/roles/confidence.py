"""
The confidence of a reply, by the source its node names.

Whatever the source, a confidence lies in 0 to 1.  A number outside that, or one that is no number, says nothing we
could act on and counts as absent; clamping it would turn a misread "85" into certainty.  A stated confidence stands at the
end of a reply, so that is all its pattern sees.

Several answers to one question are as sure as they agree: the share of them that come to the most frequent answer (Wang et
al. 2023, "Self-Consistency Improves Chain of Thought Reasoning in Language Models", arXiv 2203.11171).  What comes to no answer
agrees with nobody.  One answer says nothing about agreement.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from meshwalk.backends.roles.extract import PATTERN_CHARACTERS, extract
from meshwalk.model import Confidence
from meshwalk.model.patterns import stored_pattern
from meshwalk.trace import Reply


def confidence_of(source: Confidence, reply: Reply) -> float | None:
    """
    Return the confidence of *reply*, what stands for it where it has none, or None.
    """
    found = _found(source, reply)

    return source.missing if found is None or not 0 <= found <= 1 else found


def _found(source: Confidence, reply: Reply) -> float | None:
    match source.source:
        case "recorded":
            return reply.confidence
        case "agreement":
            return _agreement(source, reply.samples)
        case "stated":
            return _stated(source.pattern or "", reply.text)
        case _ if reply.probabilities is None:
            return None
        case "mean_token_probability":
            return reply.probabilities.mean
        case "min_token_probability":
            return reply.probabilities.minimum
        case "margin":
            return reply.probabilities.margin


def plurality(source: Confidence, samples: Sequence[str]) -> tuple[int, int] | None:
    """
    Return which of *samples* first gives their most frequent answer, and how many do; None where none has one.

    Of two answers that are as frequent, the one that was given first counts.
    """
    answers = [extract(source.extract, text) for text in samples]
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return None
    # A counter keeps the order in which it met its keys, and `max` takes the first of equals.
    answer = max(counts, key=counts.__getitem__)

    return answers.index(answer), counts[answer]


def _agreement(source: Confidence, samples: Sequence[str]) -> float | None:
    found = plurality(source, samples) if len(samples) > 1 else None

    # A sample that was asked for and did not come agrees with nobody.
    return None if found is None else found[1] / max(len(samples), source.samples)


def _stated(pattern: str, text: str) -> float | None:
    # The last one counts: a model that reconsiders states its confidence again.
    compiled = stored_pattern(pattern)
    matches = deque(compiled.find_all(text[-PATTERN_CHARACTERS:]), maxlen=1)
    if not matches:
        return None
    stated = (matches[0].group if compiled.groups else matches[0].text) or ""
    number, percent, _ = stated.strip().partition("%")
    try:
        return float(number) / (100 if percent else 1)
    except ValueError:
        return None
