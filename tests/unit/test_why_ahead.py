"""What was recorded while the clock was ahead, and other ends that little else reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.why_facts import as_document, job, ns, run, text, why

from taskman_cli.core.engine.definition import job_from
from taskman_cli.core.pause import Pause
from taskman_cli.core.schedule import ScheduleError
from taskman_cli.core.schedule.expression import place_in
from taskman_cli.insight.why.facts import SchedulerFacts, SlotRecord

YEAR_NS = 365 * 86_400_000_000_000
NOW = ns("2026-11-24T12:00")
JOB = job()


def test_a_job_that_was_recorded_years_ahead_is_corrected() -> None:
    pause = Pause(NOW + YEAR_NS, reason="x", by="ann")
    ahead = replace(JOB, since_ns=NOW + YEAR_NS, anchor_ns=NOW + YEAR_NS, pause=pause)
    right = ahead.corrected(NOW)
    assert (right.since_ns, right.anchor_ns) == (NOW, NOW)
    assert right.pause is not None
    assert right.pause.since_ns == NOW
    only_pause = replace(JOB, since_ns=NOW - 5, anchor_ns=NOW - 5, pause=pause).corrected(NOW)
    assert (only_pause.since_ns, only_pause.pause) == (NOW - 5, right.pause)
    past = replace(JOB, since_ns=NOW - 5, anchor_ns=NOW - 5, pause=None)
    assert past.corrected(NOW) is past


def test_records_from_a_clock_that_was_ahead_do_not_count() -> None:
    assert SchedulerFacts(accounted_ns=NOW + YEAR_NS).judged(NOW).accounted_ns is None
    assert SchedulerFacts(accounted_ns=NOW).judged(NOW).accounted_ns == NOW


def test_an_invalid_definition_makes_no_job() -> None:
    with pytest.raises(ScheduleError, match="not a job definition"):
        job_from("x", '{"enabled": 3')


def test_an_empty_expression_has_no_place() -> None:
    assert place_in(ScheduleError("empty"), "") == (0, 0)


def test_why_distinguishes_records_from_when_the_clock_was_ahead() -> None:
    told = text(why(job(), scheduler=SchedulerFacts(ahead_ns=NOW + YEAR_NS)))
    assert "Records from when the clock was ahead" in told
    slot = "2027-11-25T02:30"
    record = SlotRecord(run=run(slot))
    answer = why(job(), slot, recorded=[slot], record=record)
    assert "the clock was ahead when this was recorded" in text(answer)
    assert as_document(answer)["clock_was_ahead"] is True
