"""
Rounds of `check`: the first names every slip of a file that its author wrote from memory, so the second finds it right.
"""

from __future__ import annotations

import re

from meshwalk.loader import read_graph
from meshwalk.plan import examine
from tests.support.files import ROOT


FIRST = (ROOT / "tests" / "graphs" / "bad" / "first-file.yaml").read_text(encoding="utf-8")

# Each as the fault's own remedy has it.
REMEDIES = {
    "language: string": "language: {type: string, default: en}",
    "{type: enum, default: free}": "{type: string, enum: [free, paid], default: free}",
    "good: 50%": "good: 0.5",
    "window: 1d": "window: 24h",
    "{type: openai,": "{kind: openai, usd_per_mtok: {input: 0, output: 0},",
    "usd_per_mtok: 2.5": "usd_per_mtok: {input: 2.5, output: 2.5}",
    "request.prompt.contains('refund')": "signals.complexity > 0.5",
    "system_prompt:": "system:",
    "confidence: mean_token_probability": "confidence: {from: mean_token_probability, missing: 0}",
    " && request.big > 1": "",
    "to: end": "to: done",
    "backend: large": "backend: big",
    "{{ user }}: {{ request.big }}": "{{ prompt }}",
    "next: Done": "next: done",
}


def test_right_after_the_first_round() -> None:
    """
    With the first round's remedies taken, and bounds on the tokens of its calls, there is no error left.
    """
    text = re.sub(r"  # expect .*", "", FIRST)
    for slip, remedy in REMEDIES.items():
        assert slip in text
        text = text.replace(slip, remedy)
    _, second = examine(read_graph(text.encode(), file="first-file.yaml"))
    bounded = re.sub(r"( +)role: answer", r"\g<0>\n\1max_tokens: 500", text)
    plan, third = examine(read_graph(bounded.encode(), file="first-file.yaml"))

    assert {"unbounded-cost"} == {problem.code for problem in second if problem.severity == "error"}
    assert plan is not None
    assert [] == [problem for problem in third if problem.severity == "error"]
