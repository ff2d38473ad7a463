"""
Errors cross the wire as themselves, whatever they hold.
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.problems import (
    BudgetContended,
    BudgetExceeded,
    DeadlineExceeded,
    DeadlineExpired,
    GraphError,
    HopFailed,
    HopLimitExceeded,
    InputTooLarge,
    MeshClosed,
    MeshwalkError,
    ProtocolError,
    ReplyUnread,
    RequestError,
    RequestInProgress,
    SetupError,
    TooManyWalks,
    TraceError,
    Unreachable,
    VaultUnavailable,
    Violation,
    WalkStopped,
)
from meshwalk.wire.errors import (
    DETAILS_KEY,
    Internal,
    NotFound,
    RpcError,
    Unauthenticated,
    internal,
    pack_error,
    pack_failure,
    speakable,
    unpack_error,
    unpack_failure,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2


TARGET = "127.0.0.1:50051"
KNOWN: dict[str, Any] = {"traversal_id": "0198", "node": "small", "error_class": "overloaded", "scope": "request"}
VIOLATIONS = (Violation("messages", "there is no message"), Violation("attributes.task", "is 'poem'"))

ERRORS: list[MeshwalkError] = [
    *(kind(VIOLATIONS) for kind in (RequestError, InputTooLarge, DeadlineExpired, NotFound)),
    *(
        kind("it stopped", **KNOWN)
        for kind in (WalkStopped, BudgetExceeded, BudgetContended, HopLimitExceeded, DeadlineExceeded, HopFailed)
    ),
    HopFailed("it broke off", **KNOWN, partial="IdempotentWalks upon", partial_hop=2),
    WalkStopped("it broke off", **KNOWN, partial_hop=0),
    SetupError("start it with `--traces DIR`"),
    VaultUnavailable("redis at 127.0.0.1 does not answer"),
    MeshClosed("the mesh was closed"),
    ReplyUnread("too much is waiting"),
    TooManyWalks("this server has 2000 walks in flight"),
    RequestInProgress("the first request with this key is under way"),
    Unauthenticated("this call has no key"),
    TraceError("no such plan", plan_digest="ab" * 32),
    Internal("it broke", code="INTERNAL"),
]


def called(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    """
    Fail as a call does that a server ended with *status*.
    """
    said = rpc_status.to_status(status)

    return grpc.aio.AioRpcError(
        said.code, grpc.aio.Metadata(), grpc.aio.Metadata(*said.trailing_metadata), details=said.details
    )


def detail_of(status: status_pb2.Status, kind: type[Message]) -> Message | None:
    for detail in status.details:
        message: Message = kind()
        if detail.Unpack(message):
            return message

    return None


class TestThereAndBack:
    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_is_the_same(self, error: MeshwalkError) -> None:
        """
        The client raises what the server caught: class, text and all that it knows.
        """
        back = unpack_error(called(pack_error(error)), TARGET)

        assert (type(error), str(error), vars(error)) == (type(back), str(back), vars(back))

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_the_code_is_the_hint(self, error: MeshwalkError) -> None:
        """
        A caller without our client sees the status that fits.
        """
        assert error.hint == called(pack_error(error)).code().name

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_is_the_same_inside_a_message(self, error: MeshwalkError) -> None:
        """
        An error that is no call's end loses nothing on the way either.
        """
        sent = pack_failure(error).SerializeToString()
        back = unpack_failure(error_pb2.Failure.FromString(sent))

        assert (type(error), str(error), vars(error)) == (type(back), str(back), vars(back))

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_a_message_says_when_to_retry_as_a_status_does(self, error: MeshwalkError) -> None:
        """
        A caller without our client is told the same by a message as by a status.
        """
        failure, retry = pack_failure(error), detail_of(pack_error(error), error_details_pb2.RetryInfo)
        delay_us = retry.retry_delay.ToMicroseconds() if isinstance(retry, error_details_pb2.RetryInfo) else 0

        assert delay_us == failure.retry_delay_us
        assert code_pb2.Code.Value(error.hint) == failure.code


class TestDetails:
    def test_fields(self) -> None:
        """
        A request's faults are google.rpc.BadRequest field violations.
        """
        found = detail_of(pack_error(RequestError(VIOLATIONS)), error_details_pb2.BadRequest)
        assert isinstance(found, error_details_pb2.BadRequest)

        assert list(VIOLATIONS) == [(violation.field, violation.description) for violation in found.field_violations]

    def test_what_a_walk_knows(self) -> None:
        """
        A stopped walk's google.rpc.ErrorInfo names reason, domain, scope, node, record and cause.
        """
        found = detail_of(pack_error(BudgetExceeded("too dear", **KNOWN)), error_details_pb2.ErrorInfo)
        assert isinstance(found, error_details_pb2.ErrorInfo)

        assert ("BUDGET_EXCEEDED", "meshwalk") == (found.reason, found.domain)
        assert {"traversal_id": "0198", "node": "small", "cause": "overloaded", "scope": "request"} == dict(found.metadata)

    @pytest.mark.parametrize(
        ("error_class", "expected"),
        [
            ("overloaded", True),
            ("rate_limited", True),
            ("unreachable", True),
            ("malformed", False),
            ("timeout", False),
            ("", False),
        ],
    )
    def test_retrying(self, error_class: str, expected: bool) -> None:
        """
        A google.rpc.RetryInfo is there where trying again may help, and only there.
        """
        status = pack_error(HopFailed("it stopped", error_class=error_class))

        assert expected == (detail_of(status, error_details_pb2.RetryInfo) is not None)

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (BudgetContended("others hold it", scope="session"), True),
            (BudgetExceeded("it is spent", scope="session"), False),
            (VaultUnavailable("it does not answer"), True),
            (RequestInProgress("the first is under way"), True),
            (Unauthenticated("it has no key"), False),
        ],
    )
    def test_retrying_budgets(self, error: MeshwalkError, expected: bool) -> None:
        """
        What others hold, a vault that is away and a walk under way may be otherwise soon; a budget that is spent is spent.
        """
        assert expected == (detail_of(pack_error(error), error_details_pb2.RetryInfo) is not None)


class TestLength:
    @given(st.text(st.characters(), max_size=2_000), st.integers(1, 400), st.integers(1, 40))
    def test_it_fits_the_trailers(self, text: str, times: int, count: int) -> None:
        """
        Whatever an error quotes, surrogates too, its status fits 6 KiB of trailers: message escaped, details in base64.
        """
        long = text * times
        stopped: dict[str, Any] = {"traversal_id": long, "node": long, "error_class": long, "scope": long}
        errors: list[MeshwalkError] = [TraceError(long, plan_digest=long), Internal(long, code="INTERNAL")]
        for kind in {type(error) for error in ERRORS}:
            if kind in (TraceError, Internal):
                continue
            if issubclass(kind, RequestError):
                errors.append(kind([Violation(long, long)] * count))
            elif issubclass(kind, WalkStopped):
                errors += [kind(long, **stopped), kind(long, **stopped, partial=long, partial_hop=9)]
            else:
                errors.append(kind(long))
        for error in errors:
            said = rpc_status.to_status(pack_error(error))
            details = dict(said.trailing_metadata)[DETAILS_KEY]

            assert 3 * len(said.details.encode()) + 4 * len(details) // 3 < 6_144

    def test_a_long_partial_answer_is_cut(self) -> None:
        """
        An answer that broke off late is not in the error as a whole, but how long it was is.
        """
        error = HopFailed("it broke off", partial="é" * 5_000, partial_hop=1)
        back = unpack_error(called(pack_error(error)), TARGET)
        assert isinstance(back, HopFailed)

        assert (1, 5_000) == (back.partial_hop, back.partial_characters)
        assert back.partial.endswith("é…")
        assert 990 < len(back.partial) < 1_000

    def test_a_clipped_text_says_so(self) -> None:
        """
        What was cut ends in an ellipsis, and never inside a character.
        """
        message = pack_error(SetupError("é" * 1_000)).message

        assert message.endswith("é…")
        assert 477 <= len(message.encode()) <= 480


class TestUnspeakable:
    @pytest.mark.parametrize(
        "error", [GraphError([]), ProtocolError("no", "new"), Unreachable("no", backend="b"), KeyError("x")]
    )
    def test_faults_of_ours(self, error: Exception) -> None:
        """
        What a caller cannot have caused is not told to it.
        """
        assert not speakable(error)

    def test_one_sentence_for_all(self) -> None:
        """
        A fault of ours is always the same INTERNAL.
        """
        back = unpack_error(called(pack_error(internal())), TARGET)

        assert (Internal, Internal.stable) == (type(back), str(back))


# A reason that only a later version knows.
_LATER: Any = 99


class TestOtherServers:
    @pytest.mark.parametrize(("code", "expected"), [(8, "RESOURCE_EXHAUSTED"), (99, "UNKNOWN")])
    def test_a_message_of_a_newer_server(self, code: int, expected: str) -> None:
        """
        A kind of error that this client does not know is a RpcError with its text and its code.
        """
        back = unpack_failure(error_pb2.Failure(code=code, message="too much", reason=_LATER))
        assert RpcError is type(back)
        assert isinstance(back, RpcError)

        assert ("too much", expected) == (str(back), back.code)

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            (grpc.StatusCode.UNAVAILABLE, f"no answer from {TARGET} (oh)"),
            (grpc.StatusCode.UNIMPLEMENTED, "does not know this call (oh)"),
            (grpc.StatusCode.PERMISSION_DENIED, f"the call to {TARGET} failed: PERMISSION_DENIED, oh"),
        ],
    )
    def test_a_status_without_details(self, code: grpc.StatusCode, says: str) -> None:
        """
        What the transport or another server says is a RpcError with its code.
        """
        back = unpack_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="oh"), TARGET)
        assert isinstance(back, RpcError)

        assert says in str(back)
        assert code.name == back.code

    def test_time_is_up(self) -> None:
        """
        The caller's own deadline is a missed deadline, as in process.
        """
        bare = grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())

        assert isinstance(unpack_error(bare, TARGET), DeadlineExceeded)

    def test_details_of_another_domain(self) -> None:
        """
        A rich status that is not ours is not taken for ours.
        """
        status = status_pb2.Status(code=3, message="no")
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason="BUDGET_EXCEEDED", domain="elsewhere"))

        assert RpcError is type(unpack_error(called(status), TARGET))

    def test_a_status_that_was_changed_on_the_way(self) -> None:
        """
        Where code and details disagree the code counts.
        """
        metadata = grpc.aio.Metadata((DETAILS_KEY, pack_error(RequestError(VIOLATIONS)).SerializeToString()))
        changed = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, details="upstream reset")

        assert RpcError is type(unpack_error(changed, TARGET))


def test_a_delay_that_only_the_server_knows_is_kept() -> None:
    """
    A server that says when to come back is believed, whatever the kind of its error.
    """
    failure = pack_failure(SetupError("restarting"))
    failure.retry_delay_us = 2_500_000
    back = unpack_failure(failure)

    assert (True, 2.5) == (back.retryable, back.retry_after)


@pytest.mark.parametrize("details", ["Cancelling all calls", "Received GOAWAY", "Server shutdown"])
def test_a_server_that_stops_is_told_from_none(details: str) -> None:
    """
    A call that a stopping server cut off is not answered by the question for a server.
    """
    metadata = grpc.aio.Metadata()
    error = unpack_error(grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata, details=details), TARGET)

    assert "stopped while it had the call" in str(error)
    assert "running there" not in str(error)
