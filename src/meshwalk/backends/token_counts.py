"""
The number of tokens that a request's calls send, counted with the tokenizers that their backends declare.

A count stands in the record of a walk (`Facts.counted`), so that replay bounds the same calls by the same figures without a
tokenizer.  What is counted is every text that a call can send, whether or not the walk comes to that node; texts
that several nodes share, such as the caller's own messages, are counted once for each tokenizer.

Tools and schemas are counted by their bytes: a chat template writes JSON in a way of its own, and that may have more tokens
than what the caller wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from meshwalk import prompts
from meshwalk.checks import worst_case
from meshwalk.model import Node, Value
from meshwalk.plan import Plan
from meshwalk.trace import Message, ReplyOptions


# The number of tokens that a text becomes.
Tokenizer = Callable[[str], int]


def count_inputs(
    plan: Plan,
    tokenizers: Mapping[str, Tokenizer],
    messages: Sequence[Message],
    attributes: Mapping[str, Value],
    form: ReplyOptions = ReplyOptions(),
) -> tuple[tuple[str, int], ...]:
    """
    Count what a call of each node would send, by the node's name.

    A node whose backend has no tokenizer is left out, and so is one that quotes answers.

    Args:
        tokenizers: By the backend's name; backends that share one count a text once.
        attributes: Every attribute with its value, defaults filled in.
        form: The tools and the format that come with the caller's own messages.
    """
    known: dict[tuple[Tokenizer, str], int] = {}
    sent = tuple(messages)
    tools = worst_case.form_bytes(form) + sum(map(worst_case.tool_bytes, sent))

    def counted(node: Node, tokenizer: Tokenizer) -> int:
        total = tools if node.prompt is None else 0
        for text in _texts(node, sent, attributes):
            tokens = known.get((tokenizer, text))
            if tokens is None:
                tokens = known[tokenizer, text] = tokenizer(text)
            total += tokens

        return total

    return tuple(
        (one.name, counted(one.node, tokenizers[one.node.backend]))
        for one in plan.nodes
        # The answers of other nodes are not known yet; their bytes bound them.
        if one.node.backend is not None and one.node.backend in tokenizers and not one.node.quotes
    )


def _texts(node: Node, messages: tuple[Message, ...], attributes: Mapping[str, Value]) -> Iterator[str]:
    # The overhead of each message covers its role and the separators of the chat template.
    rendered = messages if node.prompt is None else prompts.render(node.prompt, messages, attributes)
    if node.system is not None:
        yield node.system
    for message in rendered:
        yield message.content
        if message.name:
            yield message.name
