"""
Outcomes in which long prompts are hard for the weak model.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any


WORDS = ("the", "number", "of", "apples", "each", "how", "many", "left", "if", "then", "because", "sum", "cost", "hour", "day")


def taught(rows: int = 160, *, topics: bool = False, seed: int = 3) -> list[dict[str, Any]]:
    """
    Make rows: the strong model is nearly always right, the weak one on short prompts (or of one category).
    """
    dice = random.Random(seed)
    found = []
    for number in range(rows):
        long = dice.random() < 0.5
        prompt = f"{number}: " + " ".join(dice.choices(WORDS, k=60 if long else 6))
        weak = dice.random() < (0.15 if long else 0.85)
        found.append(
            {
                "id": f"row-{number}",
                "prompt": prompt,
                "outcomes": {"small": {"score": int(weak)}, "large": {"score": int(dice.random() < 0.8)}},
            }
            | ({"category": "proof" if long else "prose"} if topics else {})
        )

    return found


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """
    Write *rows* as an outcomes file.
    """
    path = folder / "outcomes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return path
