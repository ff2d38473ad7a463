"""
The shape of calls to one server, and of its answers, as a backend declares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from meshwalk.model import ThoughtTags


class CallShape(NamedTuple):
    """
    The shape of calls to a server that differs from the protocol, or adds to it.

    Args:
        max_tokens_name: The name of the limit on tokens.
        leave_out: Fields that are never sent.
        extra: Fields that are merged into every body.
        headers: Further headers, with their values.
        key_header: The header that the key goes in as it is; empty sends it as a bearer token.
        roles: The names of roles at this server.
        stream_options: Whether a stream is asked for its usage.
        thoughts: The tags round thoughts in the content, where they stand there.
        settles_reported: Whether a call is settled at what the provider says that it costs.
        takes_images: Whether messages may hold images.
        image_tokens: The tokens that an image is estimated at.
    """

    max_tokens_name: str = "max_tokens"
    leave_out: frozenset[str] = frozenset()
    extra: Mapping[str, Any] = {}
    headers: tuple[tuple[str, str], ...] = ()
    key_header: str = ""
    roles: Mapping[str, str] = {}
    stream_options: bool = True
    thoughts: ThoughtTags | None = None
    settles_reported: bool = False
    takes_images: bool = False
    image_tokens: int = 0


PLAIN_SHAPE = CallShape()
