"""
The demo's primary: an exact solver behind the `python` backend.

It stands in the place of a large hosted model and is none: it calculates, looks at the calendar, and has a table of facts.
Its answers are computed from the question, and it says so where it cannot answer.  Tokens are counted as four bytes each, so
that its price can be compared with a model's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from fractions import Fraction

from meshwalk.backends.base import ChatRequest
from meshwalk.trace import Reply, Usage


UNKNOWN = "I do not know."

_BYTES_PER_TOKEN = 4
_KM_PER_MILE = Fraction(1609344, 1_000_000)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"),
    (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip

# Facts by their kind and their subject, in small letters.
_FACTS = {
    "capital": {
        "australia": "Canberra", "austria": "Vienna", "brazil": "Brasília", "cameroon": "Yaoundé", "canada": "Ottawa",
        "cuba": "Havana", "egypt": "Cairo", "finland": "Helsinki", "france": "Paris", "germany": "Berlin", "greece": "Athens",
        "hungary": "Budapest", "ireland": "Dublin", "italy": "Rome", "japan": "Tokyo", "kenya": "Nairobi", "norway": "Oslo",
        "peru": "Lima", "poland": "Warsaw", "portugal": "Lisbon", "spain": "Madrid", "sweden": "Stockholm",
        "switzerland": "Bern", "turkey": "Ankara",
    },
    "opposite": {
        "cold": "hot", "down": "up", "early": "late", "empty": "full", "hot": "cold", "left": "right", "up": "down",
        "wet": "dry",
    },
    "chemical symbol": {"gold": "Au", "iron": "Fe", "oxygen": "O", "sodium": "Na", "water": "H2O"},
    "currency": {"india": "the rupee", "japan": "the yen", "switzerland": "the franc"},
    "language": {"brazil": "Portuguese", "mexico": "Spanish"},
    "colour": {"a ripe banana": "yellow", "grass": "green", "snow": "white"},
    "legs": {"a dog": "4", "a spider": "8"},
    "wrote": {"don quixote": "Miguel de Cervantes", "hamlet": "William Shakespeare"},
    "month": {"first": "January", "last": "December"},
    "other": {
        "what do bees make": "honey", "which planet is closest to the sun": "Mercury", "how many months are in a year": "12",
        "what is the largest ocean": "the Pacific", "what is the largest desert of africa": "the Sahara",
    },
}  # fmt: skip


async def answer(request: ChatRequest) -> Reply:
    """
    Answer the last message of *request*, or say that the answer is not known.
    """
    question = request.messages[-1].content
    text = solve(question)
    read = sum(len(message.content.encode()) for message in request.messages)

    return Reply(text, usage=Usage(-(-read // _BYTES_PER_TOKEN), -(-len(text.encode()) // _BYTES_PER_TOKEN)))


def solve(question: str) -> str:
    """
    Return the answer to *question* in a sentence, or `UNKNOWN`.
    """
    asked = " ".join(question.split()).rstrip("?.! ")
    for pattern, solved in _SOLVERS:
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            said = solved(*found.groups())
            if said is not None:
                return f"The answer is {said}."

    return UNKNOWN


def _fact(kind: str) -> Callable[[str], str | None]:
    return lambda subject: _FACTS[kind].get(subject.lower())


def _calculated(left: str, sign: str, right: str) -> str | None:
    one, other = int(left), int(right)
    if sign == "**":
        return str(one**other) if other <= 64 else None
    if sign == "/":
        return None if other == 0 else _decimal(Fraction(one, other))

    return str({"+": one + other, "-": one - other, "*": one * other}[sign])


def _decimal(number: Fraction, places: int | None = None) -> str:
    if places is not None:
        return f"{float(round(number, places)):.{places}f}"

    return str(number.numerator) if number.denominator == 1 else f"{float(number):.6g}"


def _share(percent: str, whole: str) -> str:
    return _decimal(Fraction(percent) * Fraction(whole) / 100)


def _reduced(price: str, percent: str) -> str:
    return _decimal(Fraction(price) * (100 - Fraction(percent)) / 100)


def _solved(factor: str, constant: str, result: str) -> str | None:
    return None if int(factor) == 0 else f"x = {_decimal(Fraction(int(result) - int(constant), int(factor)))}"


def _sorted(listed: str) -> str:
    return ", ".join(sorted(re.findall(r"-?\d+", listed), key=int))


def _median(listed: str) -> str:
    numbers = sorted(int(number) for number in re.findall(r"-?\d+", listed))
    half = len(numbers) // 2

    return _decimal(Fraction(numbers[half]) if len(numbers) % 2 else Fraction(numbers[half - 1] + numbers[half], 2))


def _roman(number: str) -> str:
    left, letters = int(number), ""
    for value, letter in _ROMAN:
        letters += letter * (left // value)
        left %= value

    return letters


def _converted(small: str, count: str, large: str) -> str:
    return _decimal(Fraction(int(count) * _SECONDS[large.lower()], _SECONDS[small.lower()]))


_NUMBER = r"(-?\d+(?:\.\d+)?)"
_DATE = r"(\d{4}-\d\d-\d\d)"
_UNIT = "(second|minute|hour|day|week)s?"

_SOLVERS: tuple[tuple[str, Callable[..., str | None]], ...] = (
    (r"what is (-?\d+) ?(\*\*|[-+*/]) ?(-?\d+)", _calculated),
    (rf"what is {_NUMBER} ?% of {_NUMBER}", _share),
    (r"what is the greatest common divisor of (\d+) and (\d+)", lambda one, other: str(math.gcd(int(one), int(other)))),
    (
        r"what is the sum of the numbers from (\d+) to (\d+)",
        lambda low, high: str((int(low) + int(high)) * (int(high) - int(low) + 1) // 2),
    ),
    (r"what is the median of ([-\d, ]+)", _median),
    (r"sort these numbers: ([-\d, ]+)", _sorted),
    (r"solve for x: (-?\d+) ?\*? ?x \+ (-?\d+) = (-?\d+)", _solved),
    (rf"an? \w+ costs {_NUMBER} and is reduced by {_NUMBER} ?%\. what does it cost now", _reduced),
    (rf"what weekday was {_DATE}", lambda day: date.fromisoformat(day).strftime("%A")),
    (
        rf"how many days are between {_DATE} and {_DATE}",
        lambda one, other: str(abs((date.fromisoformat(other) - date.fromisoformat(one)).days)),
    ),
    (rf"how many {_UNIT} are in (\d+) {_UNIT}", _converted),
    (rf"how many {_UNIT} are in ()an? {_UNIT}", lambda small, _, large: _converted(small, "1", large)),
    (rf"convert {_NUMBER} miles to kilometres, to two decimals", lambda miles: _decimal(Fraction(miles) * _KM_PER_MILE, 2)),
    (r"write (\d{1,4}) in roman numerals", _roman),
    (r"write (\d+) in binary", lambda number: f"{int(number):b}"),
    (r"what is the (?:capital) of (.+)", _fact("capital")),
    (r"what is the opposite of (.+)", _fact("opposite")),
    (r"what is the chemical symbol for (.+)", _fact("chemical symbol")),
    (r"what is the currency of (.+)", _fact("currency")),
    (r"what language is spoken in (.+)", _fact("language")),
    (r"what colour is (.+)", _fact("colour")),
    (r"how many legs does (.+) have", _fact("legs")),
    (r"who wrote (.+)", _fact("wrote")),
    (r"what is the (first|last) month of the year", _fact("month")),
    (r"(.+)", _fact("other")),
)
