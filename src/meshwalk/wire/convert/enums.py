"""
The enums of the wire and their words in Python.

One rule spells them all: a word is the name of its enum value without the prefix, in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

from meshwalk.model import AwayPolicy, Role, ScopeKind, ValueType
from meshwalk.model.problems import MeshwalkError
from meshwalk.model.signals import Section
from meshwalk.records.hops import HopStatus, Verdict
from meshwalk.trace import AttemptStatus, Basis, Outcome
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2 as errors
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2 as graph
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.gen.meshwalk.v1beta1 import traversal_pb2 as traversal
from meshwalk.wire.types import Detail


_Word = TypeVar("_Word")
_Number = TypeVar("_Number", bound=int)

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def _same(word: str) -> Any:
    return word


class EnumWords(Generic[_Word, _Number]):
    """
    The words and the numbers of one enum.

    Args:
        enum: The generated enum.
        spell: Makes a word of a value's name in lower case.

    Attributes:
        number: The number of each word; the zero of the enum has none.
    """

    def __init__(self, enum: Any, spell: Callable[[str], _Word] = _same) -> None:
        self._name: str = enum.DESCRIPTOR.name
        prefix = len(_CAPITAL.sub("_", self._name)) + 1
        self._word: dict[int, _Word] = {number: spell(name[prefix:].lower()) for name, number in enum.items() if number}
        self.number: dict[_Word, _Number] = {word: number for number, word in self._word.items()}  # type: ignore[misc]

    def word(self, number: int) -> _Word:
        """
        Return the word for *number*.

        Raises:
            MeshwalkError: If there is none, as from a peer of a later version.
        """
        try:
            return self._word[number]
        except KeyError:
            raise MeshwalkError(
                f"this meshwalk knows no {self._name} {number}; the other side may be a later version"
            ) from None


class _Numbers(dict[str, Any]):
    """
    The numbers of an enum, in which a word that it lacks is its zero.
    """

    def __missing__(self, word: str) -> int:
        return 0


class OptionalWords(EnumWords[str, _Number]):
    """
    The words and the numbers of one enum, in which the empty word is the zero.

    A word that the enum lacks is the zero as well: a backend of the user's own may make up the class of its errors.
    """

    def __init__(self, enum: Any) -> None:
        super().__init__(enum)
        self._word[0] = ""
        self.number = _Numbers(self.number)


OUTCOMES: EnumWords[Outcome, common.Outcome.ValueType] = EnumWords(common.Outcome, Outcome)
ROLES: EnumWords[Role, common.Role.ValueType] = EnumWords(common.Role)
BASES: EnumWords[Basis, common.CostBasis.ValueType] = EnumWords(common.CostBasis)
VERDICTS: EnumWords[Verdict, common.Verdict.ValueType] = EnumWords(common.Verdict)
SECTIONS: EnumWords[Section, common.Section.ValueType] = EnumWords(common.Section)
DETAILS: EnumWords[Detail, routing.Detail.ValueType] = EnumWords(routing.Detail, lambda word: _same(word.upper()))
FORMATS: EnumWords[Literal["json_object", "json_schema"], common.ResponseFormatKind.ValueType] = EnumWords(
    common.ResponseFormatKind
)
HOP_STATUSES: EnumWords[HopStatus, traversal.HopStatus.ValueType] = EnumWords(traversal.HopStatus)
ATTEMPT_STATUSES: EnumWords[AttemptStatus, traversal.AttemptStatus.ValueType] = EnumWords(traversal.AttemptStatus)
SCOPE_KINDS: EnumWords[ScopeKind | Literal["request"], common.ScopeKind.ValueType] = EnumWords(common.ScopeKind)
AWAY_POLICIES: EnumWords[AwayPolicy, common.AwayPolicy.ValueType] = EnumWords(common.AwayPolicy)
VALUE_TYPES: EnumWords[ValueType, graph.ValueType.ValueType] = EnumWords(graph.ValueType)
BACKEND_KINDS: EnumWords[str, graph.BackendKind.ValueType] = EnumWords(graph.BackendKind)
REASONS: EnumWords[str, errors.ErrorReason.ValueType] = EnumWords(errors.ErrorReason, str.upper)

# Fields that are empty where there is nothing to say.
SCOPES: OptionalWords[common.ScopeKind.ValueType] = OptionalWords(common.ScopeKind)
AWAY: OptionalWords[common.AwayPolicy.ValueType] = OptionalWords(common.AwayPolicy)
ERROR_CLASSES: OptionalWords[common.ErrorClass.ValueType] = OptionalWords(common.ErrorClass)
CAUSES: OptionalWords[common.FailureCause.ValueType] = OptionalWords(common.FailureCause)
