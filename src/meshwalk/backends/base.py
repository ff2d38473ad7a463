"""
The interface of backends: one coroutine that answers a chat request, and a way to close.

A backend makes one call and says what it saw; it knows nothing of graphs, budgets or retries.  Whatever a provider or a
library raises is mapped here or in the backend's own file to a `BackendError`, so that the walk sees classes, not libraries.
A deadline reaches a backend as cancellation: the engine cancels the call, and the backend lets go of its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from meshwalk.model import Sampling, Value
from meshwalk.model.constructors import fast_constructor
from meshwalk.model.private_text import PrivateText, disclosed_error, private
from meshwalk.model.problems import BackendError
from meshwalk.trace import Message, Piece, Reply, ReplyOptions, Timing, Usage


class CallProgress:
    """
    The progress of one call, filled in by its backend and read by the engine when it ends the call.

    Args:
        sent: Whether the provider may have got the request; a backend that cannot tell leaves it true.
        queue_us: The time it waited for a place, at the limiter and for a connection.
        usage: The tokens of what came, as far as they are known, for a call that gives no reply.
        estimated: Whether a part of *usage* is an estimate.
        ended: Whether the reply itself is whole, and only what may follow it is waited for.
    """

    __slots__ = ("connect_us", "ended", "estimated", "first_byte_us", "queue_us", "sent", "usage")

    def __init__(self) -> None:
        self.sent = True
        self.usage: Usage | None = None
        self.estimated = self.ended = False
        self.queue_us = self.connect_us = self.first_byte_us = 0

    def __repr__(self) -> str:
        state = ("ended" if self.ended else "sent") if self.sent else "not sent"

        return f"<CallProgress: {state}, usage {self.usage}>"

    @property
    def timing(self) -> Timing:
        """
        Return the split of the call's latency, as far as it has come.
        """
        return Timing(self.queue_us, self.connect_us, self.first_byte_us)


class ChatRequest(NamedTuple):
    """
    A request for one reply.

    Args:
        sampling: What is set is sent; None leaves it to the provider.
        probabilities: Whether the reply must carry token probabilities if the backend can give them.
        traceparent: The W3C header to pass on, so that the callee's spans hang under this attempt; empty where the backend
            waits for nobody to whom it could pass it.
        form: The tools and the format that the caller's own messages come with.
        samples: How many answers to ask for.
        endpoint: Which of the backend's endpoints to call; empty where it has only one.
        tenant: Whose request it is.
        progress: Filled in by the backend while the call goes on.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    probabilities: bool = False
    traceparent: str = ""
    form: ReplyOptions = ReplyOptions()
    samples: int = 1
    endpoint: str = ""
    tenant: str = ""
    progress: CallProgress | None = None

    @property
    def prompt(self) -> str:
        """
        Return the last user message, or the last message if there is none.
        """
        asked = (message.content for message in reversed(self.messages) if message.role == "user")

        return next(asked, self.messages[-1].content)


class Backend(Protocol):
    """
    Anything that answers chat requests.

    Attributes:
        waits: Whether a call may wait for anything, so that it needs a time limit.
    """

    waits: bool

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong.
        """
        ...

    async def aclose(self) -> None:
        """
        Let go of connections, threads and models; calling it twice is fine.
        """
        ...


# Outside this package anybody may write a backend, and put into its errors what it was sent.
_PACKAGE = __name__.partition(".")[0]


def message_of(error: BackendError, raised_by: object) -> str:
    """
    Return the message of *error*, without its words where somebody outside wrote it.

    Args:
        raised_by: The backend or classifier that it came from.
    """
    message = error.args[0] if error.args else ""
    if isinstance(message, PrivateText):
        return message

    return words_of_others(error, "it") if is_foreign(raised_by) else str(message)


def is_foreign(backend: object) -> bool:
    """
    Tell whether *backend*, or a classifier, was written outside this package.
    """
    return type(backend).__module__.partition(".")[0] != _PACKAGE


def words_of_others(error: BackendError, raised_by: str) -> PrivateText:
    """
    Return the message of *error*, all of which somebody outside wrote.

    Args:
        raised_by: The words for what it came from.
    """
    message = disclosed_error(error)

    return PrivateText(f"{raised_by} raised {type(error).__name__}: {private(message)}", message)


make_chat_request: Callable[[tuple[object, ...]], ChatRequest] = fast_constructor(ChatRequest)

# Called with each piece of a reply, in order, as it comes; it does not wait.
OnPiece = Callable[[Piece], None]


@runtime_checkable
class StreamingBackend(Backend, Protocol):
    """
    A backend that can answer piece by piece.

    Any other one is asked by `chat`, and its whole reply is one piece.
    """

    async def stream(self, request: ChatRequest, on_piece: OnPiece) -> Reply:
        """
        Make one call, pass each piece of its text to *on_piece* as it comes, and return the whole reply in the end.

        Raises:
            BackendError: With the class of what went wrong; pieces may have been passed on before.
        """
        ...


class Classifier(Protocol):
    """
    A classifier that is neither a model nor one of meshwalk's own rules: trained weights, a service or a function.

    Attributes:
        waits: Whether it may wait for anything, so that it needs a time limit.
    """

    waits: bool

    async def classify(
        self, messages: Sequence[Message], attributes: Mapping[str, Value], traceparent: str
    ) -> dict[str, Value]:
        """
        Give each signal that its node declares, by name.

        Args:
            traceparent: The W3C header to pass on; empty where it waits for nobody to whom it could pass it.

        Raises:
            BackendError: With the class of what went wrong.
        """
        ...

    async def aclose(self) -> None:
        """
        Let go of connections and models; calling it twice is fine.
        """
        ...
