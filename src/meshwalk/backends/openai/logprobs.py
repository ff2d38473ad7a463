"""
The log-probabilities of an answer's tokens, in the shapes that servers give them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from meshwalk.trace import TokenProbabilities


class TokenChance(NamedTuple):
    """
    The probability of one chosen token; a margin of None is unknown.
    """

    text: str
    probability: float
    margin: float | None = None


class ProbabilitySeries(NamedTuple):
    """
    The probability of each token, and the margin of each whose second choice is known.
    """

    chosen: Sequence[float] = ()
    margins: Sequence[float] = ()

    @property
    def summary(self) -> TokenProbabilities | None:
        """
        Sum them up; None if nothing is known.
        """
        if not self.chosen:
            return None
        margin = math.fsum(self.margins) / len(self.margins) if self.margins else None

        return TokenProbabilities(math.fsum(self.chosen) / len(self.chosen), min(self.chosen), margin)


def series_of(tokens: Iterable[TokenChance]) -> ProbabilitySeries:
    """
    Turn *tokens* into the two series that are summed up.
    """
    known = list(tokens)

    return ProbabilitySeries(
        [token.probability for token in known], [token.margin for token in known if token.margin is not None]
    )


def read_logprobs(given: Any) -> list[TokenChance]:
    """
    Read the token probabilities of a choice; a token that cannot be read is left out.
    """
    if isinstance(given, dict):
        if isinstance(given.get("content"), list):
            return _entries(given["content"])
        if isinstance(given.get("token_logprobs"), list):
            return _columns(given)
        return []

    return _entries(given) if isinstance(given, list) else []


def _entries(entries: Iterable[Any]) -> list[TokenChance]:
    found = []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        chance = _chance(entry.get("logprob"))
        if chance is not None:
            found.append(TokenChance(_text(entry), chance, _margin(entry.get("top_logprobs"))))

    return found


def _columns(given: Mapping[str, Any]) -> list[TokenChance]:
    """
    Read the shape of the completions endpoint, a list for each property.
    """
    chances = given["token_logprobs"]
    texts = given.get("tokens")
    tops = given.get("top_logprobs")
    found = []
    for at, number in enumerate(chances):
        chance = _chance(number)
        if chance is not None:
            text = texts[at] if isinstance(texts, list) and at < len(texts) else ""
            top = tops[at] if isinstance(tops, list) and at < len(tops) else None
            found.append(TokenChance(text if isinstance(text, str) else "", chance, _margin(top)))

    return found


def _text(entry: Mapping[str, Any]) -> str:
    text = entry.get("token")

    return text if isinstance(text, str) else ""


def _margin(tops: Any) -> float | None:
    """
    Return the margin between the two likeliest tokens, whichever of them was chosen.
    """
    if isinstance(tops, dict):
        tops = [top if isinstance(top, dict) else {"logprob": top} for top in tops.values()]
    if isinstance(tops, list):
        numbers = [top.get("logprob") if isinstance(top, dict) else None for top in tops]
    else:
        return None
    chances = [_chance(number) for number in numbers]
    ranked = sorted((chance for chance in chances if chance is not None), reverse=True)
    # An unknown number may have been the second largest, and is not guessed at.
    if len(ranked) < 2 or len(ranked) < min(2, len(chances)):
        return None

    return ranked[0] - ranked[1]


def _chance(number: Any) -> float | None:
    if not isinstance(number, int | float) or isinstance(number, bool) or math.isnan(number) or number == math.inf:
        return None

    # Rounding lets some servers go a little above zero.
    return math.exp(min(0.0, number))


def of_answer(tokens: Sequence[TokenChance], answer: str) -> list[TokenChance]:
    """
    Return those of *tokens* that make up *answer*, the last of what the model wrote; none where they cannot be told apart.
    """
    whole = "".join(token.text for token in tokens)
    start = whole.rfind(answer) if answer else -1
    if start < 0:
        return []
    end, at, found = start + len(answer), 0, []
    for token in tokens:
        reaches = at + len(token.text)
        if at < end and reaches > start:
            found.append(token)
        at = reaches

    return found
