"""
What the faulty server is told to do, and what it keeps of what it did.

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

# What it can do beside answering with an error status.
VERBS = ("ok", "body", "raw", "endless", "reset", "close", "stall", "drip", "fail", "garble", "slam")


class Act(NamedTuple):
    """
    Say what is done with one request.
    """

    verb: str
    words: tuple[str, ...]
    options: dict[str, str]
    hold: str = ""

    @property
    def text(self) -> str:
        return next((word for word in self.words if not _is_usage(word)), "Paris")

    @property
    def usage(self) -> tuple[int, int]:
        """
        Return the tokens of its answer.
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
    """
    acts = []
    for part in line.split(" | "):
        words = shlex.split(part)
        hold = words.pop(1) if words[0] == "hold" else ""
        verb, *rest = words[1:] if hold else words
        options = dict(word.split("=", 1) for word in rest if _is_option(word))
        assert verb in VERBS or verb.isdigit(), f"'{verb}' is nothing that the faulty server can do"
        acts.append(Act(verb, tuple(word for word in rest if not _is_option(word)), options, hold))

    return acts


def _is_option(word: str) -> bool:
    name, equals, _ = word.partition("=")

    return bool(equals) and name.replace("-", "").isalpha()


class Seen:
    """
    Log one request.

    Attributes:
        asked: What was asked for.
        headers: By their names in small letters.
        streamed: Whether the answer is a stream.
        sent: How many words, or bodies, of the answer went out.
        ended: `answered`, `broken` by the server, or `left` by the client.
        bill: Whether the provider bills the usage it told, nothing, or something nobody was told.
    """

    def __init__(self, act: Act, asked: dict[str, Any], headers: dict[str, str]) -> None:
        self.act = act
        self.asked = asked
        self.headers = headers
        self.streamed = False
        self.sent = 0
        self.ended: Literal["", "answered", "broken", "left"] = ""
        self.bill: Bill = "unknown"
        self.usage = (0, 0)

    def __repr__(self) -> str:
        return f"<{self.act.verb}: {self.ended}, bills {self.bill} {self.usage}>"
