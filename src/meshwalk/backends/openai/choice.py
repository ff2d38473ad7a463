"""
One sample of an answer, gathered from its message or from the deltas of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshwalk.backends import estimates, labels
from meshwalk.backends.openai import spellings
from meshwalk.backends.openai.json_text import Joiner
from meshwalk.backends.openai.logprobs import TokenChance, of_answer, read_logprobs, series_of
from meshwalk.backends.openai.thoughts import TagFilter, content_of, thoughts_in
from meshwalk.backends.openai.tool_calls import ToolCalls, UnreadableReplyError
from meshwalk.model import ThoughtTags
from meshwalk.trace import Piece, TokenProbabilities


# Pieces that are longer on average hold several tokens each, so that counting them would count too few.
_BYTES_PER_PIECE = 8


class _Tally:
    """
    The pieces of one kind that came, and their text.
    """

    __slots__ = ("pieces", "texts")

    def __init__(self) -> None:
        self.pieces = 0
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """
        Take a piece.
        """
        self.pieces += 1
        self.texts.append(text)

    @property
    def text(self) -> str:
        """
        Return all of it.
        """
        return "".join(self.texts)

    @property
    def tokens(self) -> int:
        """
        Count its tokens: the pieces where they are as short as tokens, else as many as its text may have.
        """
        text = self.text
        if self.pieces and len(text.encode("utf-8", "replace")) <= _BYTES_PER_PIECE * self.pieces:
            return self.pieces

        return max(self.pieces, estimates.text_tokens(text))


def _reason_in(given: Mapping[str, Any]) -> str:
    return next((word for field in spellings.FINISH_REASON_FIELDS if (word := spellings.reason_of(given.get(field)))), "")


def has_part(given: Any) -> bool:
    """
    Tell whether a choice of a whole answer has a message, or an error in its place.
    """
    if not isinstance(given, dict):
        return False
    part = given.get("message", given.get("delta"))

    return isinstance(part, dict) or (part is None and (isinstance(given.get("text"), str) or bool(given.get("error"))))


class Choice:
    """
    One sample, as far as it has come.

    Args:
        tags: What stands round thoughts in the content, where they stand there.

    Attributes:
        piece: A whole answer as one piece of a stream; None for one in deltas.
        broken: What stands in it that says that its server gave it up; None where nothing does.
        refused: Whether the model refused in a message of its own kind.
        had_content: Whether it had a text, however short.
        was_delta: Whether it came in deltas.
        carried: What its provider needs back.
    """

    __slots__ = (
        "_answer", "_arguments", "_chances", "_filter", "_held_chances", "_joiner", "_thought_joiner", "_thoughts",
        "_whole_chances", "broken", "calls", "carried", "finish_reason", "had_content", "piece", "refused", "was_delta",
    )  # fmt: skip

    def __init__(self, tags: ThoughtTags | None) -> None:
        self.piece: Piece | None = None
        self.finish_reason = ""
        self.broken: Mapping[str, Any] | None = None
        self.refused = self.had_content = self.was_delta = False
        self.calls = ToolCalls()
        self.carried: dict[str, Any] = {}
        self._filter = TagFilter(tags)
        self._joiner, self._thought_joiner = Joiner(), Joiner()
        self._answer, self._thoughts, self._arguments = _Tally(), _Tally(), _Tally()
        self._chances: list[TokenChance] = []
        # Of text of which it is not known yet whether it is the answer's.
        self._held_chances: list[TokenChance] = []
        self._whole_chances: list[TokenChance] | None = None

    # ---- taking it --------------------------------------------------------------------------------------------------

    def take(self, given: Mapping[str, Any], *, whole: bool, probabilities: bool) -> list[Piece]:
        """
        Take a part of it, and return the pieces that have become of that; a piece without text is a sign of life.

        Raises:
            UnreadableReplyError: If it is no part of an answer.
        """
        part = self._part_of(given, whole=whole)
        self._note_end(given, part)
        content, among = content_of(part.get("content"))
        self.had_content |= content is not None
        self.refused |= isinstance(part.get("refusal"), str) and bool(part["refusal"])
        beside = thoughts_in(part) or among
        pieces: list[Piece] = []
        if beside:
            self._thoughts.add(self._thought_joiner.add(beside))
            pieces.append(Piece("", 0))
        chances = read_logprobs(given.get("logprobs") or part.get("logprobs")) if probabilities else []
        if whole:
            self._whole_chances = chances
        thinking = self._filter.before_answer
        answer, thought = self._filter.feed(self._joiner.add(content)) if content else ("", "")
        if thought:
            self._thoughts.add(thought)
        called = self._call(part, whole=whole)
        if answer or (chances and not beside and not thought and not self._filter.unfinished):
            piece = self._told(answer, chances, whole=whole, mixed=thinking or bool(beside or thought))
            if piece is not None:
                pieces.append(piece)
                if whole:
                    self.piece = piece if self.piece is None else piece._replace(text=self.piece.text + piece.text)
        elif thought or called or content:
            self._hold(chances, thought=self._filter.before_answer or bool(thought or beside))
            pieces.append(Piece("", 0))
        self._carry(part)

        return pieces

    def _part_of(self, given: Mapping[str, Any], *, whole: bool) -> Mapping[str, Any]:
        delta, message = given.get("delta"), given.get("message")
        if whole:
            part = message if message is not None else delta
            if part is None and isinstance(given.get("text"), str):
                part = {"content": given["text"]}
            return part if isinstance(part, dict) else {}
        # Some servers send the whole message once more behind its deltas.
        part = delta if delta is not None else {} if self.came or message is None else message
        if not part and message is not None and not self.came:
            part = message
        if not part and isinstance(given.get("text"), str):
            part = {"content": given["text"]}
        if not isinstance(part, dict):
            raise UnreadableReplyError("a choice of its stream has no delta")
        self.was_delta = True

        return part

    def _note_end(self, given: Mapping[str, Any], part: Mapping[str, Any]) -> None:
        reason = _reason_in(given) or _reason_in(part)
        native = next((word for field in spellings.NATIVE_REASON_FIELDS if (word := spellings.reason_of(given.get(field)))), "")
        # An empty reason never takes one away.
        self.finish_reason = labels.finish_reason(reason) if reason else self.finish_reason
        if given.get("error") or part.get("error"):
            self.broken = given if given.get("error") else part
        elif reason in spellings.BROKEN_REASONS or native in spellings.BROKEN_REASONS:
            self.broken = given

    def _call(self, part: Mapping[str, Any], *, whole: bool) -> bool:
        before = len(self.calls.size)
        called = self.calls.add_whole(part) if whole else self.calls.add(part)
        if called:
            self._arguments.add(self.calls.size[before:])

        return called

    def _told(self, answer: str, chances: list[TokenChance], *, whole: bool, mixed: bool) -> Piece | None:
        if whole:
            chances = of_answer(chances, answer) if self._thoughts.texts else chances
        elif mixed:
            # The held part belongs to the thoughts, which end in this very piece.
            chances, self._held_chances = of_answer(chances, answer), []
        else:
            chances, self._held_chances = self._held_chances + chances, []
        if answer:
            self._answer.add(answer)
        self._chances += chances
        if not answer and not chances:
            return None
        series = series_of(chances)
        tokens = len(chances) or (1 if not whole else estimates.text_tokens(answer) or 1)

        return Piece(answer, tokens, tuple(series.chosen), tuple(series.margins))

    def _hold(self, chances: list[TokenChance], *, thought: bool) -> None:
        if thought:
            self._held_chances = []
        else:
            self._held_chances += chances

    def _carry(self, part: Mapping[str, Any]) -> None:
        for field in spellings.CARRIED_BY_MESSAGES:
            value = part.get(field)
            if not value:
                continue
            before = self.carried.get(field)
            if isinstance(value, str) and isinstance(before, str):
                self.carried[field] = before + value
            elif isinstance(value, list) and isinstance(before, list):
                self.carried[field] = [*before, *value]
            else:
                self.carried[field] = value

    def take_text_of(self, other: Choice) -> None:
        """
        Take the text of another choice that is a part of the same answer.
        """
        self._answer = other._answer
        self._chances = other._chances

    def end(self) -> Piece | None:
        """
        Return the piece that is left when nothing comes any more.
        """
        answer, thought = self._filter.feed(self._joiner.end())
        left, left_thought = self._filter.end()
        left_thought += self._thought_joiner.end()
        if thought + left_thought:
            self._thoughts.add(thought + left_thought)
        if not answer + left:
            return None
        self._answer.add(answer + left)

        return Piece(answer + left, 0 if self._answer.pieces > 1 else 1)

    # ---- what it comes to -------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """
        Return its answer.
        """
        return self._answer.text

    @property
    def has_text(self) -> bool:
        """
        Tell whether any of its answer came.
        """
        return bool(self._answer.texts)

    @property
    def thoughts(self) -> bool:
        """
        Tell whether any thoughts came.
        """
        return bool(self._thoughts.texts)

    @property
    def came(self) -> bool:
        """
        Tell whether anything came that may be billed.
        """
        return bool(self._answer.texts or self._thoughts.texts or self._arguments.texts)

    @property
    def probabilities(self) -> TokenProbabilities | None:
        """
        Sum up the probabilities of the answer's tokens; None if nothing is known of them.
        """
        return series_of(self._chances).summary

    @property
    def tokens_known(self) -> int:
        """
        Count the tokens of which the probabilities are known, thoughts included; 0 where they are not.
        """
        return len(self._whole_chances or ())

    @property
    def tokens_seen(self) -> int:
        """
        Count the tokens that came of a stream that broke off.
        """
        return self._answer.tokens + self._thoughts.tokens + self._arguments.tokens

    @property
    def thoughts_seen(self) -> int:
        """
        Count the tokens of thoughts that came of a stream that broke off.
        """
        return self._thoughts.tokens

    @property
    def tokens_estimated(self) -> int:
        """
        Estimate the tokens of all that came by its text, however it was cut into pieces.
        """
        return estimates.text_tokens(self.text) + self.thoughts_estimated + estimates.text_tokens(self.calls.size)

    @property
    def thoughts_estimated(self) -> int:
        """
        Estimate the tokens of its thoughts by their text.
        """
        return estimates.text_tokens(self._thoughts.text)
