"""
Redaction of recorded content, by functions that the author of the graph names.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable

from meshwalk.model.functions import import_named
from meshwalk.model.private_text import PrivateText, disclosed
from meshwalk.model.problems import SetupError
from meshwalk.trace import Content, Message, Traversal, disclosed_record


Redactor = Callable[[str], str]

_log = logging.getLogger(__name__)


class Redaction:
    """
    The redacting functions called *names*, applied one after the other.

    Attributes:
        hiding: Functions that take secrets out of a text; they are applied after the others.

    Raises:
        SetupError: If one cannot be imported, or is not a synchronous function.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.functions = tuple(map(_imported, names))
        self.hiding: tuple[Redactor, ...] = ()

    def applied(self, traversal: Traversal) -> Traversal:
        """
        Return *traversal*, whose graph records content, with its content and with providers' words, both redacted.
        """
        if (self.functions or self.hiding) and traversal.content is not None:
            traversal.content = self(traversal.content)

        return disclosed_record(traversal, self._words)

    def _words(self, text: PrivateText) -> str:
        try:
            return self._text(disclosed(text))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (as above)
            _log.error("a provider's words are not recorded: a redacting function raised %s", type(error).__name__)
            return str(text)

    def __call__(self, content: Content) -> Content | None:
        """
        Return *content* redacted; None if a function fails on it.
        """
        try:
            messages = tuple(map(self._message, content.messages))
            return Content(messages, self._text(content.answer))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (content that cannot be redacted is not recorded)
            _log.error("content is not recorded: a redacting function raised %s", type(error).__name__)
            return None

    def _message(self, message: Message) -> Message:
        # Tool arguments are derived from the prompt, so they are redacted too; its parts are texts of it once more.
        calls = tuple(call._replace(arguments=self._text(call.arguments)) for call in message.tool_calls)

        parts = tuple(self._text(part) if isinstance(part, str) else part for part in message.parts)

        return message._replace(content=self._text(message.content), tool_calls=calls, parts=parts)

    def _text(self, text: str) -> str:
        for redact in (*self.functions, *self.hiding):
            text = redact(text)
            if not isinstance(text, str):
                raise TypeError("a redacting function returns text")

        return text


def _imported(name: str) -> Redactor:
    function = import_named(name, "record.redact")
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise SetupError(f"record.redact: '{name}' is not a plain function from text to text")

    return function
