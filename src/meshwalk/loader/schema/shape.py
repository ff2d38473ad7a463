"""
What every shape is: exact types, no key that is not named, and something to take for a key that is missing.

Files of shapes do not put off their annotations (`from __future__ import annotations`): pydantic reads every one of them, and
a text would have to be compiled first, which takes a seventh of the time that importing the loader does.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """
    Be the parent of every shape: exact types, no key that is not named.
    """

    # A graph has few of the parts that there are shapes for, and a shape is built when it is first fitted.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    # What a missing or faulty required key is taken for while the rest of the part is looked at.
    stand_ins: ClassVar[dict[str, Any]] = {}

    @classmethod
    @cache
    def known_keys(cls) -> tuple[str, ...]:
        """
        List the keys as an author writes them.
        """
        return tuple(field.alias or name for name, field in cls.model_fields.items())
