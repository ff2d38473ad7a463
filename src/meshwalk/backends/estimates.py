"""
Estimates of tokens that nobody counted, by the text that was sent and the text that came.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshwalk.backends.roles.classifier import estimate_tokens
from meshwalk.trace import Message, Reply, ReplyOptions


def text_tokens(text: str) -> int:
    """
    Estimate the tokens of *text*.
    """
    return estimate_tokens(text) if text else 0


def input_tokens(messages: Sequence[Message], form: ReplyOptions, image_tokens: int = 0) -> int:
    """
    Estimate the tokens of what a call sends: its messages with their tool calls and images, the tools and the format.

    Args:
        image_tokens: The tokens of an image.
    """
    texts = [message.content for message in messages]
    texts += [text for message in messages for call in message.tool_calls for text in (call.name, call.arguments)]
    texts += [text for tool in form.tools for text in tool]
    if form.response_format is not None:
        texts += [form.response_format.name, form.response_format.schema]

    images = image_tokens * sum([message.images for message in messages]) if image_tokens else 0

    return images + sum([estimate_tokens(text) for text in texts if text])


def output_tokens(reply: Reply) -> int:
    """
    Estimate the tokens of what came back: every sample, and the tool calls.
    """
    texts = [*(reply.samples or (reply.text,)), *(text for call in reply.tool_calls for text in (call.name, call.arguments))]

    return sum([estimate_tokens(text) for text in texts if text])
