"""
An answer put together: one reading for a whole answer and for the chunks of a stream.

A whole answer is read as a stream of one chunk, in which a message stands in the place of a delta.  Reading is lenient in form,
by the tables of `spellings`, and strict in meaning: what is neither an answer nor an error is malformed.  Each slip that was
mended is named in the reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshwalk.backends import estimates, labels
from meshwalk.backends.base import CallProgress, ChatRequest, OnPiece
from meshwalk.backends.openai import spellings
from meshwalk.backends.openai.choice import Choice, has_part
from meshwalk.backends.openai.events import DONE, UNREADABLE, Event
from meshwalk.backends.openai.faults import Faults
from meshwalk.backends.openai.json_text import scalar_text
from meshwalk.backends.openai.shape import PLAIN_SHAPE, CallShape
from meshwalk.backends.openai.tool_calls import UnreadableReplyError, carried_text
from meshwalk.backends.openai.usage import Billed, Counts, Seen
from meshwalk.model.problems import BackendError, Malformed
from meshwalk.trace import Piece, Reply, Timing, ToolCall


_NO_CHOICE = "it has no choice with a message"

# Events under these names keep a connection warm, whatever their data is.
_HEARTBEATS = frozenset({"ping", "pong", "keepalive", "heartbeat", "noop"})

# A reply of no text is one where its model was cut off before the first word.
_MAY_BE_EMPTY = frozenset({"length", "content_filter"})


class Assembly:
    """
    The answer to one request, as far as it has come.

    Args:
        on_piece: Takes each piece of a stream; None for a call that did not ask for one.
        model: What was asked for, where the answer names no model.
        shape: What its backend declares of its server's answers.

    Attributes:
        done: Whether a stream has said that it is at its end.
    """

    __slots__ = (
        "_asked",
        "_backend",
        "_choices",
        "_counts",
        "_faults",
        "_grew",
        "_headers",
        "_mended",
        "_model",
        "_on_piece",
        "_one_of_several",
        "_progress",
        "_request",
        "_shape",
        "done",
    )  # fmt: skip

    def __init__(
        self,
        request: ChatRequest,
        progress: CallProgress,
        on_piece: OnPiece | None,
        *,
        backend: str,
        model: str,
        faults: Faults,
        shape: CallShape = PLAIN_SHAPE,
    ) -> None:
        self.done = False
        # True if the last chunk brought more of the answer.
        self._grew = False
        self._headers: Mapping[str, str] = {}
        self._request = request
        self._progress = progress
        self._on_piece = on_piece
        self._backend = backend
        self._faults = faults
        self._asked = model
        self._shape = shape
        self._model = ""
        self._counts = Counts()
        self._choices: dict[int, Choice] = {}
        self._mended: dict[str, None] = {}
        # True if the server counts one of several samples.
        self._one_of_several = False

    # ---- how far it has come ----------------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """
        Tell whether every sample that began has ended.
        """
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    @property
    def complete(self) -> bool:
        """
        Tell whether all samples that were asked for have ended.
        """
        return self.whole and len(self._choices) >= self._request.samples

    @property
    def counted(self) -> bool:
        """
        Tell whether tokens were counted.
        """
        return self._counts.stated

    @property
    def mended(self) -> bool:
        """
        Tell whether anything had to be mended.
        """
        return bool(self._mended)

    def mend(self, what: str) -> None:
        """
        Note that *what* had to be mended.
        """
        self._mended[what] = None

    def read_headers(self, headers: Mapping[str, str]) -> None:
        """
        Take what the headers of an answer tell of it.
        """
        if self._shape.settles_reported and (cost := headers.get("x-litellm-response-cost")):
            self._counts.read_cost(cost)
        self._one_of_several = headers.get("Server") == "llama.cpp"
        self._headers = headers

    # ---- taking it --------------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """
        Take an event of a stream; what comes after the end is not looked at.

        Raises:
            BackendError: If it is no chunk of an answer.
        """
        value, name, mended = event
        if self.done or (name and self._keeps_warm(value, name)):
            return
        if value is DONE:
            self._finish()
            return
        if value is UNREADABLE:
            raise self._faults.malformed("an event of its stream is not JSON")
        if not isinstance(value, dict):
            raise self._faults.malformed("an event of its stream has no choices")
        if mended:
            self.mend("json")
        self._take(value, whole=False, failed=name == "error")

    @staticmethod
    def _keeps_warm(value: Any, name: str) -> bool:
        """
        Tell whether an event is a heartbeat by its name; one with choices was called so by mistake.
        """
        known = name.replace("-", "").replace("_", "") in _HEARTBEATS

        return known and not (isinstance(value, dict) and bool(value.get("choices")))

    def _finish(self) -> None:
        """
        Take the last word, which says that all is there even where no reason to finish was given.
        """
        self.done = True
        for choice in self._choices.values():
            if not choice.finish_reason:
                choice.finish_reason = "tool_calls" if choice.calls else "stop"
                self.mend("finish_reason")

    def take_whole(self, answer: Any) -> None:
        """
        Take a whole answer.

        Raises:
            BackendError: If it is none.
        """
        if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict) and answer[0].get("error"):
            answer = answer[0]
        if not isinstance(answer, dict):
            raise self._faults.malformed(_NO_CHOICE)
        self._take(answer, whole=True)
        # Nothing comes behind it, so its samples have ended for whatever reason.
        for choice in self._choices.values():
            if not choice.finish_reason:
                choice.finish_reason = "tool_calls" if choice.calls else "stop"
                if choice.has_text or choice.calls:
                    self.mend("finish_reason")

    def tell_whole(self) -> None:
        """
        Pass a whole answer on as one piece, with as many tokens as were counted.
        """
        first = self._choices[min(self._choices)] if self._choices else None
        if self._on_piece is None or first is None or first.piece is None:
            return
        piece = first.piece
        usage = self._billed().usage
        counted = usage.output_tokens if self._counts.stated and not first.thoughts else 0
        self._on_piece(piece._replace(tokens=len(piece.probabilities) or counted or piece.tokens))

    def ended(self) -> None:
        """
        Note that the answer itself has ended, whatever may still come.
        """
        self._progress.ended = True
        if self._on_piece is not None:
            self._on_piece(Piece("", 0))

    def _take(self, answer: Mapping[str, Any], *, whole: bool, failed: bool = False) -> None:
        choices = answer.get("choices")
        error: BackendError | None = self._faults.in_band(answer, self._headers, failed=failed)
        if error is None and choices and not isinstance(choices, list):
            error = self._faults.malformed(_NO_CHOICE if whole else "an event of its stream has no choices")
        elif error is None:
            try:
                error = self._take_choices(choices or (), whole=whole)
            except UnreadableReplyError as unreadable:
                error = self._faults.malformed(str(unreadable))
        if not self._model and isinstance(named := answer.get("model"), str):
            self._model = scalar_text(named)
        stated = self._read_usage(answer)
        if error is None:
            if stated and not self._grew:
                self._counts.restated()
            return
        if not isinstance(error, Malformed):
            # An error in place of an answer costs nothing; what came before it may have cost, and so may what was counted.
            error.billable = self._came or self._counts.stated
        raise error

    def _take_choices(self, choices: Any, *, whole: bool) -> BackendError | None:
        self._grew = False
        indexes = [given.get("index") if isinstance(given, dict) else None for given in choices]
        # Samples that share an index are told apart by their places.
        by_place = whole and self._request.samples > 1 and len(set(indexes)) < len(indexes)
        for place, given in enumerate(choices):
            if given is None or (whole and not has_part(given)):
                continue
            if not isinstance(given, dict):
                raise UnreadableReplyError("a choice of its stream has no delta")
            index = given.get("index")
            at = place if by_place else spellings.index_of(index, 0)
            choice = self._choices.get(at)
            if choice is None:
                choice = self._choices[at] = Choice(self._shape.thoughts)
            pieces = choice.take(given, whole=whole, probabilities=self._request.probabilities)
            if choice.broken is not None:
                return self._faults.in_choice(choice.broken, self._headers)
            for holder in (given, given.get("delta"), given.get("message")):
                if isinstance(holder, dict):
                    for name in spellings.USAGE_FIELDS:
                        self._counts.read(holder.get(name))
            if pieces and not whole:
                self._grew = True
                self._counts.came()
                if at == 0 and self._on_piece is not None:
                    for piece in pieces:
                        self._on_piece(piece)

        return None

    def _read_usage(self, answer: Mapping[str, Any]) -> bool:
        """
        Take the counts in an answer, or in a chunk of one, and tell whether it states any tokens that came.
        """
        counts = self._counts
        counts.output_stated = False
        for name in spellings.USAGE_FIELDS:
            if name in answer:
                counts.read(answer[name])
        for wrapper in spellings.USAGE_WRAPPERS:
            inner = answer.get(wrapper)
            if isinstance(inner, dict):
                for name in spellings.USAGE_FIELDS:
                    counts.read(inner.get(name))
        if spellings.TOP_COUNT_FIELD in answer:
            counts.read(answer)
        timings = answer.get(spellings.TIMINGS_FIELD)
        if timings is not None:
            self._one_of_several |= isinstance(timings, dict) and "predicted_n" in timings
            counts.read_timings(timings)

        return counts.output_stated

    # ---- what it comes to -------------------------------------------------------------------------------------------

    @property
    def _came(self) -> bool:
        return any(choice.came for choice in self._choices.values())

    def account(self) -> None:
        """
        Note in the call's progress what has come, for whoever settles a call that failed.
        """
        if not (self._came or self._counts.stated):
            return
        output = sum([choice.tokens_seen for choice in self._choices.values()])
        thoughts = sum([choice.thoughts_seen for choice in self._choices.values()])
        billed = self._counts.billed(Seen(self._sent_tokens(), output, thoughts))
        self._progress.usage = billed.usage
        self._progress.estimated = billed.estimated or not self.whole

    def reply(self, timing: Timing) -> Reply:
        """
        Return what came.

        Raises:
            BackendError: If that is no reply.
        """
        for at, choice in self._choices.items():
            left = choice.end()
            if left and at == 0 and self._on_piece is not None:
                self._on_piece(left)
        if not self._choices:
            raise self._faults.malformed(_NO_CHOICE)
        indexes = sorted(self._choices)
        first = self._choices[indexes[0]]
        others = [self._choices[index] for index in indexes[1:]]
        if self._request.samples == 1:
            self._join(first, others)
        if indexes[0] != 0 and self._on_piece is not None and first.text and first.was_delta:
            self._on_piece(Piece(first.text))
        try:
            calls = first.calls.calls(self._backend)
        except UnreadableReplyError as error:
            raise self._faults.malformed(str(error)) from error
        billed = self._billed()
        self._judge(first, called=bool(calls), billed=billed)
        if first.calls.mended:
            self.mend("tool_calls")
        if billed.mended:
            self.mend("usage")
        samples = (first.text, *[choice.text for choice in others]) if self._request.samples > 1 else ()

        return Reply(
            first.text,
            finish_reason=first.finish_reason,
            usage=billed.usage,
            estimated=billed.estimated,
            cost_nano_usd=self._counts.cost_nano_usd if self._shape.settles_reported else None,
            probabilities=first.probabilities,
            timing=timing,
            model=self._named(first, calls),
            tool_calls=calls,
            samples=samples,
            carried=carried_text(self._backend, first.carried),
            mended=tuple(self._mended),
        )

    def _named(self, first: Choice, calls: tuple[ToolCall, ...]) -> str:
        """
        Return the model that the answer names, as far as that can be the name of one.
        """
        model, asked = self._model, self._asked
        if not model or model == asked:
            return asked
        texts = [*[message.content for message in self._request.messages], first.text, *[call.arguments for call in calls]]

        return labels.model_name(self._faults.hidden(model), asked, texts)

    def _join(self, first: Choice, others: list[Choice]) -> None:
        """
        Make one answer of choices that are its parts; of whole answers side by side the first counts.
        """
        for other in others:
            if other.calls and not first.calls:
                first.calls.take_over(other.calls)
                first.finish_reason = other.finish_reason
                self.mend("choices")
            elif other.text and not first.text:
                if self._on_piece is not None:
                    self._on_piece(Piece(other.text))
                first.take_text_of(other)
                self.mend("choices")

    def _sent_tokens(self) -> int:
        """
        Estimate the tokens that were sent.
        """
        return estimates.input_tokens(self._request.messages, self._request.form, self._shape.image_tokens)

    def _billed(self) -> Billed:
        request, choices = self._request, list(self._choices.values())
        sizes = [choice.tokens_estimated for choice in choices]
        thoughts = sum([choice.thoughts_estimated for choice in choices])
        billed = self._counts.billed(Seen(self._sent_tokens(), sum(sizes), thoughts))
        if request.samples > 1 and len(choices) > 1 and self._one_of_several and self._counts.stated:
            # This server counts one of the samples, and all of them were made.
            limit = request.sampling.max_tokens
            known = [
                choice.tokens_known or (limit if choice.finish_reason == "length" and limit else size)
                for choice, size in zip(choices, sizes, strict=True)
            ]
            usage = billed.usage
            sure = all(choice.tokens_known or (limit and choice.finish_reason == "length") for choice in choices)
            counted = usage.output_tokens
            # Which of them it counted is not said: where none has so many tokens, the shortest is taken for it.
            whole = sum(known) if counted in known else counted + sum(known) - min(known)
            if not (sure and counted == sum(known)):
                return Billed(usage._replace(output_tokens=whole), billed.estimated or not sure, mended=True)

        return billed

    def _judge(self, first: Choice, *, called: bool, billed: Billed) -> None:
        """
        Raise what keeps the first choice from being a reply.
        """
        if called or (first.text and not (first.thoughts and first.text.isspace() and first.finish_reason == "stop")):
            return
        if first.refused:
            raise self._faults.unwilling()
        if first.finish_reason in _MAY_BE_EMPTY:
            return
        counted = billed.usage.output_tokens and not billed.estimated
        if first.thoughts:
            raise self._faults.malformed("it has thoughts and no answer")
        if first.had_content and counted:
            return
        if not first.had_content and not first.was_delta:
            raise self._faults.malformed("its message has no text")
        error = self._faults.empty()
        error.billable = self._counts.stated
        raise error
