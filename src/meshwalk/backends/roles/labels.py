"""
The signals of a `classifier` that asks a model: which of its labels the reply names.

The label is the only one that stands in the reply as a whole word or phrase, without regard to case; of labels that contain
one another (`proof`, `long proof`) the longest counts.  A reply that names none, or two, is no answer: the hop fails as
`malformed`, rather than sending a request where nobody meant it to go.  Words like "not" are not understood, so a prompt
asks for the label alone.
"""

from __future__ import annotations

import re
from functools import lru_cache

from meshwalk.backends.roles.confidence import confidence_of
from meshwalk.backends.roles.extract import PATTERN_CHARACTERS
from meshwalk.model import Node, Value
from meshwalk.model.patterns import stored_pattern
from meshwalk.model.problems import Malformed
from meshwalk.model.signals import CONFIDENCE, LABEL
from meshwalk.trace import Reply


def outputs_of(node: Node, reply: Reply) -> dict[str, Value]:
    """
    Give the label that *reply* names, and its confidence if the node declares one.

    Raises:
        Malformed: If the reply names none of the node's labels, or several.
    """
    text = reply.text[-PATTERN_CHARACTERS:]
    if node.confidence is not None and node.confidence.pattern:
        # The model's stated confidence is no part of its answer.
        text = stored_pattern(node.confidence.pattern).replace(text, " ")
    found = label_of(node.labels, text)
    if len(found) != 1:
        # Errors are recorded where answers are not, so the reply itself is not quoted.
        many = len(found) or "none"
        raise Malformed(
            f"the reply (of {len(reply.text)} characters) names {many} of the labels {', '.join(node.labels)}, "
            f"and must name one",
            backend=node.backend or "",
        )
    outputs: dict[str, Value] = {LABEL: found[0]}
    if node.confidence is not None and (confidence := confidence_of(node.confidence, reply)) is not None:
        outputs[CONFIDENCE] = confidence

    return outputs


def label_of(labels: tuple[str, ...], text: str) -> list[str]:
    """
    List the *labels* that *text* names, each once.
    """
    pattern, folded = _pattern(labels)
    named = (" ".join(match[0].split()) for match in pattern.finditer(text.casefold()))

    return [folded[name] for name in dict.fromkeys(named)]


@lru_cache(maxsize=256)
def _pattern(labels: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    folded = {" ".join(label.casefold().split()): label for label in labels}
    # The longest first, so that it is taken for itself and not for what it contains.
    ways = (r"\s+".join(map(re.escape, label.split(" "))) for label in sorted(folded, key=len, reverse=True))

    return re.compile(rf"(?<!\w)(?:{'|'.join(ways)})(?!\w)"), folded
