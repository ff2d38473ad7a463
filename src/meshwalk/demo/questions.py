"""
The questions of the demo: our own, each with what a right answer says.

A question is right if its answer holds one of the accepted texts as whole words.  A number in the question itself is never
accepted, so that an answer cannot be right by repeating what it was asked.  The thresholds of `demo.yaml` were chosen on other
questions of the same kinds (`TUNING_QUESTIONS`), and the demo reports on `QUESTIONS` alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Question(NamedTuple):
    """
    One question, and the texts of which a right answer holds one.
    """

    text: str
    accepted: tuple[str, ...]

    def is_right(self, answer: str) -> bool:
        """
        Tell whether *answer* holds an accepted text as whole words, in whatever case.
        """
        return any(re.search(rf"(?<![\w.,]){re.escape(text)}(?![\w]|[.,]\d)", answer, re.IGNORECASE) for text in self.accepted)


def _questions(*rows: tuple[str, ...]) -> tuple[Question, ...]:
    return tuple(Question(row[0], row[1:]) for row in rows)


QUESTIONS = _questions(
    ("What is the capital of Portugal?", "Lisbon"),
    ("What is the capital of Greece?", "Athens"),
    ("What is 19 * 27?", "513"),
    ("What is the capital of Sweden?", "Stockholm"),
    ("What is the opposite of wet?", "dry"),
    ("Sort these numbers: 51, 8, 33, 12, 27.", "8, 12, 27, 33, 51"),
    ("What is the capital of Peru?", "Lima"),
    ("What is the chemical symbol for iron?", "Fe"),
    ("What is the greatest common divisor of 90 and 132?", "6", "six"),
    ("What is the capital of Hungary?", "Budapest"),
    ("What is the currency of India?", "rupee", "rupees"),
    ("What weekday was 2025-12-25?", "Thursday"),
    ("What is the capital of Poland?", "Warsaw"),
    ("What is the opposite of left?", "right"),
    ("How many minutes are in 4 hours?", "240"),
    ("What is the last month of the year?", "December"),
    ("What is the capital of Cuba?", "Havana"),
    ("A coat costs 80 and is reduced by 35 %. What does it cost now?", "52"),
    ("What is the chemical symbol for oxygen?", "O", "O2"),
    ("What is the capital of Austria?", "Vienna"),
    ("Write 58 in binary.", "111010"),
    ("What language is spoken in Mexico?", "Spanish"),
    ("What is the capital of Switzerland?", "Bern", "Berne"),
    ("How many days are between 2026-03-01 and 2026-05-01?", "61"),
    ("How many legs does a dog have?", "4", "four"),
    ("What is the opposite of early?", "late"),
    ("Solve for x: 4*x + 9 = 61.", "13"),
    ("What is the capital of Finland?", "Helsinki"),
    ("What is the largest desert of Africa?", "Sahara"),
    ("What is the sum of the numbers from 1 to 60?", "1830", "1,830"),
    ("Who wrote Don Quixote?", "Cervantes"),
    ("What is the capital of Ireland?", "Dublin"),
    ("Convert 12 miles to kilometres, to two decimals.", "19.31"),
    ("What colour is snow?", "white"),
    ("What is the currency of Switzerland?", "franc", "francs"),
    ("Write 1994 in Roman numerals.", "MCMXCIV"),
    ("What is the capital of Cameroon?", "Yaounde", "Yaoundé"),
    ("What is the chemical symbol for sodium?", "Na"),
    ("What is 2 ** 20?", "1048576", "1,048,576"),
    ("What is the opposite of empty?", "full"),
)

TUNING_QUESTIONS = _questions(
    ("What is the capital of France?", "Paris"),
    ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Kenya?", "Nairobi"),
    ("What is the capital of Turkey?", "Ankara"),
    ("What is the capital of Brazil?", "Brasilia", "Brasília"),
    ("How many months are in a year?", "12", "twelve"),
    ("How many hours are in a day?", "24"),
    ("What do bees make?", "honey"),
    ("Who wrote Hamlet?", "Shakespeare"),
    ("What is the chemical symbol for gold?", "Au"),
    ("Which planet is closest to the sun?", "Mercury"),
    ("What is the opposite of hot?", "cold"),
    ("What colour is a ripe banana?", "yellow"),
    ("How many legs does a spider have?", "8", "eight"),
    ("What is the currency of Japan?", "yen"),
    ("What is the first month of the year?", "January"),
    ("What is 17 * 23?", "391"),
    ("What is 1234 + 8765?", "9999", "9,999"),
    ("What is 15 % of 240?", "36"),
    ("What is the greatest common divisor of 84 and 126?", "42"),
    ("Sort these numbers: 42, 7, 19, 3, 88.", "3, 7, 19, 42, 88"),
    ("What weekday was 2024-02-29?", "Thursday"),
    ("How many days are between 2026-01-01 and 2026-03-01?", "59"),
    ("Convert 5 miles to kilometres, to two decimals.", "8.05"),
    ("A shirt costs 40 and is reduced by 15 %. What does it cost now?", "34"),
    ("Solve for x: 3*x + 7 = 52.", "15"),
    ("What is the sum of the numbers from 1 to 100?", "5050", "5,050"),
    ("Write 2026 in Roman numerals.", "MMXXVI"),
    ("Write 77 in binary.", "1001101"),
    ("How many seconds are in 3 hours?", "10800", "10,800"),
)
