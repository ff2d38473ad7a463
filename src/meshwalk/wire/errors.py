"""
Errors on the wire: a `MeshwalkError` as a rich gRPC status, and back to the same class in the client.

The status code is the class's `hint`.  A `google.rpc.ErrorInfo` names the class (its `reason`) and what it knows (its
`metadata`), a `google.rpc.BadRequest` the fields that cannot be taken, and a `google.rpc.RetryInfo` says that trying again
may help.  A `PartialAnswer` holds what had come of an answer that broke off.

Where an error does not end a call, as in `RouteMany`, a `Failure` holds the same as a message.  A status is made from a
`Failure` and read as one.

A status travels in HTTP/2 trailers, and peers bound those (8 KiB is common), while a caller can name an attribute a megabyte
long.  So everything here is clipped: a long error must not turn into another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import ClassVar

import grpc
import grpc.aio
from google.protobuf.message import Message as ProtobufMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from meshwalk.model.problems import (
    MAX_VIOLATIONS,
    RETRY_SECONDS,
    BudgetContended,
    BudgetExceeded,
    DeadlineExceeded,
    DeadlineExpired,
    HopFailed,
    HopLimitExceeded,
    InputTooLarge,
    MeshClosed,
    MeshwalkError,
    ReplyUnread,
    RequestError,
    RequestInProgress,
    SetupError,
    TooManyWalks,
    TraceError,
    VaultUnavailable,
    Violation,
    WalkStopped,
)
from meshwalk.wire.convert.enums import CAUSES, REASONS, SCOPES
from meshwalk.wire.gen.meshwalk.v1beta1 import error_pb2


DOMAIN = "meshwalk"
DETAILS_KEY = "grpc-status-details-bin"

# Together below 6 KiB of trailers: past 8 KiB callers see another status at random.  There each byte of a message that is not
# ASCII takes three, and three bytes of the details take four.
_MESSAGE_BYTES = 480
_FIELD_BYTES = 100
_DESCRIPTION_BYTES = 480
_DESCRIPTIONS_BYTES = 1_600
# The reader of a stream has the whole text already; this part is for a log, or for a caller of `Route`.
_PARTIAL_BYTES = 2_000


class NotFound(RequestError):
    """
    The lack of a graph or record of the name that a field gives.
    """

    hint = "NOT_FOUND"


class Unauthenticated(MeshwalkError):
    """
    A call without a credential, or with one that the server does not take.
    """

    hint = "UNAUTHENTICATED"


class PermissionDenied(MeshwalkError):
    """
    A call of a caller who is known, and lacks the right.
    """

    hint = "PERMISSION_DENIED"


class TooManyRequests(MeshwalkError):
    """
    A request of a tenant that has sent as many a minute as it may.
    """

    hint = "RESOURCE_EXHAUSTED"
    retryable = True
    retry_after = RETRY_SECONDS


class RpcError(MeshwalkError):
    """
    A failed call without an error of the server: it could not be reached, or something else answered.

    Args:
        code: The gRPC status code, as text.
    """

    def __init__(self, message: str, *, code: str) -> None:
        self.code = code
        # A caller who cancels hears of that by a cancellation, so a call that ends as CANCELLED was dropped on the way.
        self.retryable = code in {"UNAVAILABLE", "CANCELLED"}
        super().__init__(message)


class Internal(RpcError):
    """
    A fault of the server itself; its log says more.
    """

    hint = "INTERNAL"
    stable: ClassVar[str] = "the server failed in a way it should not; its log says more"


_REASONS: Mapping[str, type[MeshwalkError]] = {
    "REQUEST_INVALID": RequestError,
    "INPUT_TOO_LARGE": InputTooLarge,
    "DEADLINE_EXPIRED": DeadlineExpired,
    "NOT_FOUND": NotFound,
    "WALK_STOPPED": WalkStopped,
    "BUDGET_EXCEEDED": BudgetExceeded,
    "BUDGET_CONTENDED": BudgetContended,
    "VAULT_UNAVAILABLE": VaultUnavailable,
    "REQUEST_IN_PROGRESS": RequestInProgress,
    "UNAUTHENTICATED": Unauthenticated,
    "HOP_LIMIT_EXCEEDED": HopLimitExceeded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "BACKEND_FAILED": HopFailed,
    "SETUP_INCOMPLETE": SetupError,
    "TRACE_UNUSABLE": TraceError,
    "INTERNAL": Internal,
    "MESH_CLOSED": MeshClosed,
    "TOO_MANY_WALKS": TooManyWalks,
    "REPLY_UNREAD": ReplyUnread,
    "PERMISSION_DENIED": PermissionDenied,
    "TOO_MANY_REQUESTS": TooManyRequests,
}
_NAMES = {kind: reason for reason, kind in _REASONS.items()}
_KINDS: Mapping[int, type[MeshwalkError]] = {REASONS.number[reason]: kind for reason, kind in _REASONS.items()}

# The texts of an error beside its message: fields of a `Failure`, keys of an ErrorInfo's metadata.
_TEXTS = ("traversal_id", "node", "plan_digest")
_PARTIAL = error_pb2.PartialAnswer.DESCRIPTOR


# ---- to the wire ----------------------------------------------------------------------------------------------------


def speakable(error: Exception) -> bool:
    """
    Tell whether the text of *error* is for callers; any other error is a fault of the server.
    """
    return type(error) in _NAMES


def pack_error(error: MeshwalkError) -> status_pb2.Status:
    """
    Make a status of an error that is speakable.
    """
    return pack_status(pack_failure(error))


def pack_failure(error: MeshwalkError) -> error_pb2.Failure:
    """
    Make a message of an error that is speakable; it holds all that its status would.
    """
    failure = error_pb2.Failure(
        code=code_pb2.Code.Value(error.hint),
        message=_clipped(str(error), _MESSAGE_BYTES),
        reason=REASONS.number[_NAMES[type(error)]],
    )
    if isinstance(error, WalkStopped):
        failure.traversal_id = _clipped(error.traversal_id, _FIELD_BYTES)
        failure.node = _clipped(error.node, _FIELD_BYTES)
        failure.cause, failure.scope = CAUSES.number[error.error_class], SCOPES.number[error.scope]
    if isinstance(error, MeshClosed):
        failure.traversal_id = _clipped(error.traversal_id, _FIELD_BYTES)
    if isinstance(error, TraceError):
        failure.plan_digest = _clipped(error.plan_digest, _FIELD_BYTES)
    if isinstance(error, RequestError):
        failure.field_violations.extend(_field_violations(error.violations))
    if isinstance(error, WalkStopped) and error.partial_hop is not None:
        text = _clipped(error.partial, _PARTIAL_BYTES)
        failure.partial.MergeFrom(
            error_pb2.PartialAnswer(hop=error.partial_hop, text=text, characters=error.partial_characters)
        )
    if error.retry_after is not None:
        failure.retry_delay_us = round(error.retry_after * 1e6)

    return failure


def pack_status(failure: error_pb2.Failure) -> status_pb2.Status:
    """
    Make a status with details of *failure*.
    """
    metadata = {name: getattr(failure, name) for name in _TEXTS}
    metadata |= {"cause": CAUSES.word(failure.cause), "scope": SCOPES.word(failure.scope)}
    details: list[ProtobufMessage] = [
        error_details_pb2.ErrorInfo(
            reason=REASONS.word(failure.reason),
            domain=DOMAIN,
            metadata={name: value for name, value in metadata.items() if value},
        ),
    ]
    if failure.field_violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
            for violation in failure.field_violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if failure.HasField("partial"):
        details.append(failure.partial)
    if failure.HasField("retry_delay_us"):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMicroseconds(failure.retry_delay_us)
        details.append(retry)
    status = status_pb2.Status(code=failure.code, message=failure.message)
    for detail in details:
        status.details.add().Pack(detail)

    return status


def internal() -> MeshwalkError:
    """
    Return the error that stands for every fault of the server; only the log names the fault.
    """
    return Internal(Internal.stable, code="INTERNAL")


def _field_violations(violations: Iterable[Violation]) -> Iterator[error_pb2.FieldViolation]:
    named = list(islice(violations, MAX_VIOLATIONS))
    size = min(_DESCRIPTION_BYTES, _DESCRIPTIONS_BYTES // max(1, len(named)))
    for field, description in named:
        yield error_pb2.FieldViolation(field=_clipped(field, _FIELD_BYTES), description=_clipped(description, size))


def _clipped(text: str, size: int) -> str:
    """
    Return *text* in at most *size* bytes of UTF-8.
    """
    encoded = text[: size + 1].encode(errors="replace")

    return encoded.decode() if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore") + "…"


# ---- and back -------------------------------------------------------------------------------------------------------


def unpack_error(call: grpc.aio.AioRpcError, target: str) -> MeshwalkError:
    """
    Return the error that a failed call stands for.

    Args:
        target: The server's address, for an error that only the transport knows of.
    """
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # someone between us and the server changed the code or the message
        status = None
    if status is not None and (failure := _failure(status)) is not None and failure.reason:
        return unpack_failure(failure)

    return _error_of_transport(call, target)


def _failure(status: status_pb2.Status) -> error_pb2.Failure | None:
    """
    Return the error that `pack_status` made *status* of; None if something else made it.
    """
    failure = error_pb2.Failure(code=status.code, message=status.message)
    info, bad_request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad_request) or detail.Unpack(retry)
        # Hop 0 without characters is a partial answer too, so the field is set only where one was sent.
        if detail.Is(_PARTIAL):
            failure.partial.SetInParent()
            detail.Unpack(failure.partial)
    if info.domain != DOMAIN:
        return None
    if retry.HasField("retry_delay"):
        failure.retry_delay_us = retry.retry_delay.ToMicroseconds()
    if info.reason in REASONS.number:
        failure.reason = REASONS.number[info.reason]
    for name in _TEXTS:
        setattr(failure, name, info.metadata.get(name, ""))
    failure.cause = CAUSES.number[info.metadata.get("cause", "")]
    failure.scope = SCOPES.number[info.metadata.get("scope", "")]
    for violation in bad_request.field_violations:
        failure.field_violations.add(field=violation.field, description=violation.description)

    return failure


def unpack_failure(failure: error_pb2.Failure) -> MeshwalkError:
    """
    Return the error that *failure* stands for; one of an unknown kind is a `RpcError` with its code.
    """
    error = _unpacked(failure)
    # Most kinds say so themselves; a later server may say it of more of them.
    if failure.HasField("retry_delay_us") and error.retry_after != failure.retry_delay_us / 1e6:
        error.retryable, error.retry_after = True, failure.retry_delay_us / 1e6

    return error


def _unpacked(failure: error_pb2.Failure) -> MeshwalkError:
    kind, message = _KINDS.get(failure.reason, RpcError), failure.message
    if issubclass(kind, RequestError):
        return kind(Violation(violation.field, violation.description) for violation in failure.field_violations)
    if issubclass(kind, WalkStopped):
        return _stopped(kind, failure)
    if issubclass(kind, MeshClosed):
        return kind(message, traversal_id=failure.traversal_id, charged=not failure.HasField("retry_delay_us"))
    if issubclass(kind, TraceError):
        return kind(message, plan_digest=failure.plan_digest)
    if issubclass(kind, RpcError):
        return kind(message, code=_code_name(failure.code))

    return kind(message)


def _stopped(kind: type[WalkStopped], failure: error_pb2.Failure) -> WalkStopped:
    error = kind(
        failure.message,
        traversal_id=failure.traversal_id,
        node=failure.node,
        error_class=CAUSES.word(failure.cause),
        scope=SCOPES.word(failure.scope),
    )
    if failure.HasField("partial"):
        error.partial, error.partial_hop = failure.partial.text, failure.partial.hop
        error.partial_characters = failure.partial.characters

    return error


def _code_name(code: int) -> str:
    # A newer server may know more of them than the library here.
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else "UNKNOWN"


def unanswered(target: str) -> MeshwalkError:
    """
    Return the error of a caller whose time was up before *target* answered.
    """
    return DeadlineExceeded(f"{target} did not answer in time; allow more with `timeout`", error_class="timeout")


# Words of gRPC to callers whose server stops.
_STOPPING = ("Cancelling all calls", "GOAWAY", "Server shutdown", "shutting down")


def _error_of_transport(call: grpc.aio.AioRpcError, target: str) -> MeshwalkError:
    code, details = call.code(), call.details() or "no details"
    match code:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return unanswered(target)
        case grpc.StatusCode.UNAVAILABLE:
            if any(words in details for words in _STOPPING):
                message = (
                    f"the server at {target} stopped while it had the call ({details}); ask again, with an idempotency key if "
                    "the call may have been made"
                )
                return RpcError(message, code=code.name)
            message = _of_handshake(target, details) or (
                f"no answer from {target} ({details}); is `meshwalk serve` running there?  Where it was, the call may have "
                "been made: with an idempotency key it is safe to ask again"
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            message = f"what answers at {target} does not know this call ({details}); is it a meshwalk server of this version?"
        case grpc.StatusCode.CANCELLED:
            # A caller that cancels gets `asyncio.CancelledError`; so this call was dropped, most likely by a server that was
            # held up with a line of calls.
            dropped = RpcError(f"{target} dropped the call ({details}); try again", code=code.name)
            dropped.retryable, dropped.retry_after = True, RETRY_SECONDS
            return dropped
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in details and details.startswith("SERVER"):
            message = f"the request is larger than {target} receives ({details}); its graphs' `limits.input_bytes` say how much"
        case _:
            message = f"the call to {target} failed: {code.name}, {details}"

    return RpcError(message, code=code.name)


def _of_handshake(target: str, details: str) -> str:
    """
    Return the error of a connection that one side gave up, with the side; nothing if there was none.
    """
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details:
        return (
            f"this client does not trust the certificate of {target} ({details}); name its authority with --tls-ca "
            "(`TlsOptions(ca=…)`), and call the server by a name that its certificate has"
        )
    if "WRONG_VERSION_NUMBER" in details:
        return f"{target} answers without TLS ({details}); leave TLS out, or give the server a certificate"
    if "Socket closed" in details or "reset by peer" in details:
        return (
            f"{target} closed the connection ({details}); it may take TLS alone (--tls-ca), it may not take this client's "
            "certificate (--tls-cert, --tls-key), or it stops"
        )

    return ""
