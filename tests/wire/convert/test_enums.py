"""
Words of Python and values of enums: each has the other.
"""

from __future__ import annotations

from typing import Any, get_args

import pytest

from meshwalk.loader.casebook import Cause
from meshwalk.model import AwayPolicy, Role, ScopeKind, ValueType
from meshwalk.model.problems import ErrorClass, MeshwalkError
from meshwalk.model.signals import Section
from meshwalk.records.hops import VERDICTS as STORED_VERDICTS
from meshwalk.records.hops import HopStatus, Verdict
from meshwalk.trace import AttemptStatus, Basis, Outcome
from meshwalk.wire.convert import enums
from meshwalk.wire.errors import _REASONS
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, error_pb2, graph_pb2, routing_pb2, traversal_pb2
from meshwalk.wire.types import Detail


KINDS = {"openai", "local", "recorded", "simulated", "python", "cache"}


@pytest.mark.parametrize(
    ("words", "python", "wire"),
    [
        (enums.OUTCOMES, set(Outcome), common_pb2.Outcome),
        (enums.ROLES, set(get_args(Role)), common_pb2.Role),
        (enums.BASES, set(get_args(Basis)), common_pb2.CostBasis),
        (enums.VERDICTS, set(get_args(Verdict)), common_pb2.Verdict),
        (enums.VERDICTS, set(STORED_VERDICTS.values()), common_pb2.Verdict),
        (enums.SECTIONS, set(get_args(Section)), common_pb2.Section),
        (enums.DETAILS, set(get_args(Detail)), routing_pb2.Detail),
        (enums.FORMATS, {"json_object", "json_schema"}, common_pb2.ResponseFormatKind),
        (enums.HOP_STATUSES, set(get_args(HopStatus)), traversal_pb2.HopStatus),
        (enums.ATTEMPT_STATUSES, set(get_args(AttemptStatus)), traversal_pb2.AttemptStatus),
        (enums.VALUE_TYPES, set(get_args(ValueType)), graph_pb2.ValueType),
        (enums.BACKEND_KINDS, KINDS, graph_pb2.BackendKind),
        (enums.SCOPE_KINDS, {"request", *get_args(ScopeKind)}, common_pb2.ScopeKind),
        (enums.SCOPES, {"request", *get_args(ScopeKind)}, common_pb2.ScopeKind),
        (enums.AWAY_POLICIES, set(get_args(AwayPolicy)), common_pb2.AwayPolicy),
        (enums.AWAY, set(get_args(AwayPolicy)), common_pb2.AwayPolicy),
        (enums.ERROR_CLASSES, set(get_args(ErrorClass)), common_pb2.ErrorClass),
        # A cancelled request has a failure, and no error of its own.
        (enums.REASONS, {*_REASONS, "CANCELLED"}, error_pb2.ErrorReason),
        (enums.CAUSES, {*get_args(Cause), "contended"}, common_pb2.FailureCause),
    ],
)
def test_every_word_has_a_number(words: enums.EnumWords[Any, Any], python: set[object], wire: Any) -> None:
    """
    Each word of Python's has a number of its own, and each number but 0 a word.
    """
    assert python == words.number.keys()
    assert set(wire.values()) - {0} == set(words.number.values())


def test_a_word_that_stands_for_nothing() -> None:
    """
    Where a field may be empty, 0 is the empty word; so is an error class that a backend of the user's own made up.
    """
    assert "" == enums.ERROR_CLASSES.word(enums.ERROR_CLASSES.number[""])
    assert "" == enums.ERROR_CLASSES.word(enums.ERROR_CLASSES.number["my_own"])


def test_a_later_peer() -> None:
    """
    A number of a later version is an error that says so.
    """
    with pytest.raises(MeshwalkError, match="knows no Role 99; the other side may be a later version"):
        enums.ROLES.word(99)
