"""
The base of every shape: exact types, no unnamed keys, and stand-ins for missing ones.

Files of shapes do not defer their annotations (`from __future__ import annotations`): pydantic reads every one of them and
would have to compile each text first.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """
    The parent of every shape: exact types, no unnamed keys.
    """

    # A graph has few of the parts that there are shapes for, and a shape is built when it is first fitted.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    # Stand-ins for missing or faulty required keys, so that the rest of the part is still checked.
    stand_ins: ClassVar[dict[str, Any]] = {}

    @classmethod
    @cache
    def needed_keys(cls) -> frozenset[str]:
        """
        List the keys that cannot be left out.
        """
        return frozenset(field.alias or name for name, field in cls.model_fields.items() if field.is_required())

    @classmethod
    @cache
    def known_keys(cls) -> tuple[str, ...]:
        """
        List the keys as an author writes them.
        """
        return tuple(field.alias or name for name, field in cls.model_fields.items())
