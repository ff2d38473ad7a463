"""
The log of walks: a line for each without an answer, bounded in number, with the ids and names of the graph alone.
"""

from __future__ import annotations

import logging

import pytest

from meshwalk.records.walk_log import BURST, WalkLog
from tests.support.records import Script, answered, cancelled, climbed, failed, refused, triage, walked


PLAN = triage()


class StoppedClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("script", "level"), [(failed, "WARNING"), (refused, "INFO"), (cancelled, "INFO"), (answered, None), (climbed, None)]
)
def test_a_walk_without_an_answer_has_a_line(script: Script, level: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """
    A failure is a warning, a declared refusal and a caller who went away are for `info`, an answer has no line.
    """
    caplog.set_level(logging.DEBUG)
    WalkLog("acme").record(walked(script, plan=PLAN, task="forbidden" if script is refused else "any"), PLAN)

    assert [level] * (level is not None) == [record.levelname for record in caplog.records]


def test_a_line_names_the_walk_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """
    Its id, graph, class, node, backend and tenant stand in extras, and no provider's words.
    """
    traversal = walked(failed, plan=PLAN)
    WalkLog("acme").record(traversal, PLAN)
    (record,) = caplog.records

    assert {
        "meshwalk.traversal_id": traversal.traversal_id,
        "meshwalk.graph": "triage",
        "meshwalk.outcome": "failed",
        "meshwalk.class": "timeout",
        "meshwalk.node": "large",
        "meshwalk.backend": "large",
        "meshwalk.tenant": "acme",
    } == {name: value for name, value in vars(record).items() if name.startswith("meshwalk.")}


def test_a_flood_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """
    Past the burst walks are counted; the count comes with the next line, and at the close.
    """
    clock = StoppedClock()
    log, traversal = WalkLog("acme", clock=clock), walked(failed, plan=PLAN)
    for _ in range(BURST + 7):
        log.record(traversal, PLAN)
    flooded = len(caplog.records)
    clock.now = 0.2
    for _ in range(5):
        log.record(traversal, PLAN)
    log.close()

    assert BURST == flooded
    assert [7, 3] == [vars(record)["meshwalk.suppressed"] for record in caplog.records if "meshwalk.suppressed" in vars(record)]
