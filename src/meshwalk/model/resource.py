"""
Resources that a context manager closes: stores, vaults, sinks, backends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class AsyncResource(ABC):
    """
    An open resource that `async with` closes at the end of its block.
    """

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """
        Close the resource; closing twice is fine.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
