"""
Texts that a node sends a model, checked: placeholders that exist, and a request that the model gets to see.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from meshwalk import prompts
from meshwalk.loader.messages import prompt_faults
from meshwalk.loader.yaml.document import Scalar
from meshwalk.model.problems import Problem, Span


# Placeholders in single braces, as in f-strings and most other template languages; ours have two.
_SINGLE_BRACES = re.compile(
    r"(?<!\{)\{\s*(prompt|conversation|question|input|query|request\.\w+|answer\.\w+)\s*\}(?!\})", re.ASCII
)
_OPENING = "{{"
_OF_THE_REQUEST = frozenset({"prompt", "conversation"})


def check_prompt(
    node: str,
    scalar: Scalar,
    attributes: Collection[str],
    answers: Sequence[str],
    problems: list[Problem],
    *,
    serves: bool,
) -> None:
    """
    Check the template that *node* sends in place of the caller's messages.

    Args:
        attributes: The names that `request.<attribute>` may have.
        answers: The nodes whose answers it must show.
        serves: Whether the node's reply can be served.
    """
    template = scalar.raw
    slips = prompts.faults(template, attributes, answers)
    for slip in slips:
        place = _place(scalar, slip.offset, slip.length)
        problems.append(prompt_faults.bad_placeholder(place, node, slip.message, slip.help))
    braces = list(_SINGLE_BRACES.finditer(template))
    problems += [
        prompt_faults.single_braces(_place(scalar, match.start(), len(match[0])), node, match[0], match[1]) for match in braces
    ]
    quoted = prompts.quoted(template)
    # An answer that the prompt does not show cannot be judged; a misspelt placeholder is reported already.
    if set(quoted) <= set(answers):
        problems += [prompt_faults.answer_not_quoted(scalar.span, node, answer) for answer in answers if answer not in quoted]
    shown = {name for name, _ in prompts.placeholders(template)}
    if serves and not slips and not braces and shown.isdisjoint(_OF_THE_REQUEST):
        problems.append(prompt_faults.without_question(scalar.span, node))


def check_system(node: str, scalar: Scalar, problems: list[Problem]) -> None:
    """
    Check the system message of *node*, which is sent word for word.
    """
    offset = scalar.raw.find(_OPENING)
    if offset >= 0:
        problems.append(prompt_faults.placeholder_in_system(_place(scalar, offset, len(_OPENING)), node))


def _place(scalar: Scalar, offset: int, length: int) -> Span:
    if not scalar.exact:
        return scalar.span

    return scalar.text_span._replace(column=scalar.text_span.column + offset, length=length)
