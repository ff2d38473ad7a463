"""
The script of a faulty server, and its log of requests.

A script is one line, its answers taken in order:

    429 retry-after=1 | reset | ok "Paris" 10+5 p=0.9

    ok "TEXT" IN+OUT         answer as asked for, in one body or as a stream of words
       p=0.9                 … with this probability of each token, where probabilities are asked for
       cached=3 reasoning=2  … with these parts of the tokens
       finish=length         … for this reason; finish=no leaves the reason out
       usage=no              … without usage; usage=bad with one that is no number
       body=plain            … in one body, whatever was asked for
       by=chunks, by=1.0     … in chunks, or as HTTP/1.0 does, whose body ends where the connection does
       head=huge             … under a head with a line of 64 kB
       done=no               … a stream without its `[DONE]`
    STATUS ["TEXT"]          an error; `retry-after=1`, or `retry-after=date` in an hour; `to=URL` where it redirects
    body TYPE 'TEXT'         200 with any body; `bills=nothing` where nobody worked for it
    raw 'TEXT'               bytes that are no HTTP
    endless                  a body without end, as fast as it is read
    reset, close, stall, drip, fail, garble
                             break the connection, end it, say no more, send a byte now and then for ever, tell of an error, or
                             send what is no JSON: before the answer, or `after=K` words of a stream (of a whole answer:
                             after half of it); then `"TEXT" IN+OUT` is what would have been said
    slam                     close the next connection before anything is asked on it
    hold NAME …              do the rest once the test sets the event NAME
"""

from __future__ import annotations

import shlex
from typing import Any, Literal, NamedTuple


Bill = Literal["usage", "nothing", "unknown"]

# All that a script can say beside an error status.
VERBS = ("ok", "body", "raw", "endless", "reset", "close", "stall", "drip", "fail", "garble", "slam")


class Act(NamedTuple):
    """
    One answer of a script.

    Args:
        verb: An error status, or one of `VERBS`.
        words: Texts, and the tokens of the answer as `IN+OUT`.
        options: What stands after the words as `name=value`.
        hold: The event that is waited for before the answer goes out; empty for none.
    """

    verb: str
    words: tuple[str, ...]
    options: dict[str, str]
    hold: str = ""

    @property
    def text(self) -> str:
        """
        Return the text of the answer.
        """
        return next((word for word in self.words if not _is_usage(word)), "Paris")

    @property
    def usage(self) -> tuple[int, int]:
        """
        Return the tokens of the answer: in and out.
        """
        counts = next((word for word in self.words if _is_usage(word)), "10+5")
        incoming, outgoing = counts.split("+")

        return int(incoming), int(outgoing)


def _is_usage(word: str) -> bool:
    incoming, plus, outgoing = word.partition("+")

    return bool(plus) and incoming.isdigit() and outgoing.isdigit()


def script(line: str) -> list[Act]:
    """
    Read a line of answers.

    Raises:
        ValueError: If a verb is none of them.
    """
    acts = []
    for part in line.split(" | "):
        words = shlex.split(part)
        hold = words.pop(1) if words[0] == "hold" else ""
        verb, *rest = words[1:] if hold else words
        options = dict(word.split("=", 1) for word in rest if _is_option(word))
        if verb not in VERBS and not verb.isdigit():
            raise ValueError(f"'{verb}' is no verb of a faulty server; write an error status or one of {', '.join(VERBS)}")
        acts.append(Act(verb, tuple(word for word in rest if not _is_option(word)), options, hold))

    return acts


def _is_option(word: str) -> bool:
    name, equals, _ = word.partition("=")

    return bool(equals) and name.replace("-", "").isalpha()


class Seen:
    """
    One request, as the server saw it.

    Attributes:
        body: The body of the request, decoded.
        headers: By their names in small letters.
        streamed: True if the answer is a stream.
        sent: The number of words of a stream, or of whole bodies, that went out.
        ended: `answered`, `broken` by the server, or `left` by the client.
        bill: The provider's bill: for the usage it reported, for nothing, or for usage it never reported.
    """

    def __init__(self, act: Act, body: dict[str, Any], headers: dict[str, str]) -> None:
        self.act = act
        self.body = body
        self.headers = headers
        self.streamed = False
        self.sent = 0
        self.ended: Literal["", "answered", "broken", "left"] = ""
        self.bill: Bill = "unknown"
        self.usage = (0, 0)

    def __repr__(self) -> str:
        return f"<{self.act.verb}: {self.ended}, bills {self.bill} {self.usage}>"
