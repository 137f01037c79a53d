"""What `why` says of a parked job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.why_facts import NOW, as_document, job, ns, run, skip, text, why

from taskman_cli.core.pause import Failures, Park, Pause
from taskman_cli.insight.why import advice
from taskman_cli.insight.why.facts import SlotRecord

if TYPE_CHECKING:
    from taskman_cli.insight.why.facts import JobFacts

SLOT = "2026-11-24T02:30"
SINCE = ns("2026-11-23T02:30:07")


def parked(*, until: str | None = None, trial: str = "", runs: tuple[str, ...] = ("a", "b")) -> JobFacts:
    """Return a job that is parked since its second failed run."""
    until_ns = None if until is None else ns(until)
    park = Park(SINCE, "2 runs in a row failed (the last: exit 1)", until_ns, trial)
    return replace(job(), failures=Failures(2, runs, "f", park))


def told(facts: JobFacts) -> str:
    """Return what is said of a job whose latest slot was skipped."""
    skipped = skip(SLOT, "parked", "2 runs in a row failed (the last: exit 1)")
    return text(why(facts, latest=SLOT, record=SlotRecord(skip=skipped)))


def test_a_skipped_slot_says_why_and_the_job_since_when_after_which_runs_and_how_it_goes_on() -> None:
    words = told(parked())
    assert "it was skipped (parked). It was parked: 2 runs in a row failed (the last: exit 1)." in words
    assert (
        "It has been parked since Mon 2026-11-23 02:30:07: 2 runs in a row failed (the last: exit 1). "
        "Runs that failed: a, b. Its slots are skipped; `taskman resume backup`, or a changed definition, "
        "ends that, and `taskman trigger backup` tries it once." in words
    )
    assert "The next slot" not in words


def test_one_run_and_none_are_told_as_such() -> None:
    assert "The run that failed: a." in told(parked(runs=("a",)))
    assert "that failed:" not in told(parked(runs=()))


def test_a_try_that_is_to_come_is_told_with_its_slot() -> None:
    words = told(parked(until="2026-11-24T12:00"))
    assert "Its first slot from Tue 2026-11-24 12:00:00 on is tried (park_for)" in words
    assert "ends that earlier." in words
    assert "The next slot is Wed 2026-11-25 02:30:00" in words


def test_a_try_that_is_due_or_goes_on_is_told() -> None:
    assert "Its next slot is tried (park_for)" in told(parked(until="2026-11-24T09:00"))
    assert "Run r tries it: its success ends that." in told(parked(until="2026-11-24T09:00", trial="r"))


def test_a_slot_to_come_that_is_parked_has_no_run() -> None:
    words = text(why(parked(), "2026-11-25T02:30"))
    assert "will not run at its slot Wed 2026-11-25 02:30:00+01:00, in 16h30m: it is parked." in words
    paused = replace(parked(), pause=Pause(SINCE))
    assert ": it is paused." in text(why(paused, "2026-11-25T02:30"))


def test_the_slot_after_a_pause_and_a_park_is_one_that_neither_covers() -> None:
    pause = Pause(SINCE, ns("2026-11-26T00:00"))
    facts = replace(parked(until="2026-11-24T12:00"), pause=pause)
    assert "The first slot after that is 02:30:00, in 1d16h" in told(facts)


def test_a_run_of_a_parked_job_is_told_with_the_park() -> None:
    words = text(why(parked(), latest=SLOT, record=SlotRecord(run(SLOT, state="failed"))))
    assert "It has been parked since" in words


@pytest.mark.parametrize(
    ("reason", "words", "advised"),
    [
        ("only_if", "began with the command of only_if, which said no: exit 1.", "taskman show backup"),
        ("not_now", "began, and its command said not now: exit 1 (skip_exit_codes).", ""),
    ],
)
def test_a_run_whose_command_said_that_it_does_not_go_on_is_told_with_what_it_said(
    reason: str, words: str, advised: str
) -> None:
    begun = run(SLOT, state="skipped")
    found = why(job(), latest=SLOT, record=SlotRecord(begun, skip(SLOT, reason, "exit 1", run=begun.id)))
    assert f"Run {begun.id} {words}" in text(found)
    assert found.run == begun
    assert advised in [one.command for one in advice(found)]


@pytest.mark.parametrize(
    ("trigger", "words"),
    [("manual", "was triggered on demand"), ("start", "was triggered by the start of the scheduler")],
)
def test_a_run_for_no_slot_that_did_not_go_on_is_not_said_to_have_had_one(trigger: str, words: str) -> None:
    asked = run(None, queued=SLOT, state="skipped", trigger=trigger)
    found = why(job(), latest=SLOT, record=SlotRecord(asked, skip(SLOT, "only_if", "exit 1", run=asked.id)))
    assert text(found).startswith(
        f"backup {words}, at Tue 2026-11-24 02:30:00+01:00, and did not run: it was skipped (only if). "
    )


def test_json_has_the_park() -> None:
    found = as_document(why(parked(until="2026-11-24T12:00"), latest=SLOT))
    assert found["park"] == {
        "since": "2026-11-23T02:30:07+01:00", "until": "2026-11-24T12:00:00+01:00",
        "reason": "2 runs in a row failed (the last: exit 1)", "runs": ["a", "b"], "trial": None,
    }  # fmt: skip
    assert as_document(why(job(), latest=SLOT))["park"] is None


def test_a_park_that_a_clock_ahead_recorded_begins_now() -> None:
    later = parked()
    assert later.failures is not None
    assert later.park is not None
    ahead = replace(
        later, failures=replace(later.failures, park=replace(later.park, since_ns=ns("2030-01-01")))
    )
    right = ahead.corrected(ns(NOW)).park
    assert right is not None
    assert right.since_ns == ns(NOW)
    assert later.corrected(ns(NOW)) is later
