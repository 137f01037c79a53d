"""What became of a slot: from facts to findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.why_facts import event, job, ns, run, skip, why

from taskman_cli.insight.why.facts import JobFacts, SchedulerFacts, SlotRecord
from taskman_cli.insight.why.slotresult import (
    Absence,
    Cause,
    NoRecordReason,
    Outcome,
    Ran,
    Skipped,
    ToCome,
    Unrecorded,
    find_absence,
    lateness,
)
from taskman_cli.insight.why.slots import Recorded

SLOT = "2026-11-24T02:30"


def account(facts: JobFacts, at: str | None = SLOT, **options: object) -> object:
    found = why(facts, at, **options)  # type: ignore[arg-type]
    assert found.slot is not None
    return found.slot.result


# --- which slot ---


def test_a_queried_time_with_a_slot_finds_that_slot() -> None:
    found = why(job(), SLOT)
    assert found.slot is not None
    assert found.slot.slot_ns == ns(SLOT)
    assert found.not_due is None
    assert (found.previous_ns, found.next_ns) == (ns("2026-11-23T02:30"), ns("2026-11-25T02:30"))


def test_a_minute_covers_the_slots_within_it() -> None:
    found = why(job(cron="20,40 30 2 * * *"), SLOT)
    assert found.slot is not None
    assert found.slot.slot_ns == ns("2026-11-24T02:30:20")
    assert found.is_first_of_many
    assert not why(job(cron="20 30 2 * * *"), SLOT).is_first_of_many


def test_a_second_covers_that_second_only() -> None:
    assert why(job(cron="20 30 2 * * *"), "2026-11-24T02:30:00").outcome is Outcome.NOT_DUE
    assert why(job(cron="20 30 2 * * *"), "2026-11-24T02:30:20").not_due is None


def test_records_take_precedence_over_the_schedule() -> None:
    found = why(job(), "2026-11-24T05:00", recorded=["2026-11-24T05:00:10"])
    assert found.not_due is None
    assert found.slot is not None
    assert found.slot.slot_ns == ns("2026-11-24T05:00:10")


@pytest.mark.parametrize(
    ("at", "nearest"),
    [("2026-11-24T05:00", SLOT), ("2026-11-24T20:00", "2026-11-25T02:30"), ("2026-11-24T14:30", SLOT)],
    ids=["before it", "after it", "as far"],
)
def test_a_time_that_is_not_a_slot_finds_the_nearest_one(at: str, nearest: str) -> None:
    found = why(job(), at)
    assert found.not_due is not None
    assert found.slot is not None
    assert found.slot.slot_ns == ns(nearest)


def test_a_slot_on_record_may_be_the_nearest() -> None:
    recorded = Recorded((), before_ns=ns("2026-11-24T04:58"), after_ns=ns("2026-11-24T05:03"))
    found = why(job(), "2026-11-24T05:00", recorded=recorded)
    assert (found.previous_ns, found.next_ns) == (ns("2026-11-24T04:58"), ns("2026-11-24T05:03"))


def test_without_a_time_the_latest_slot_and_the_next_one_are_found() -> None:
    found = why(job(), latest=SLOT, record=SlotRecord(run(SLOT)))
    assert found.slot is not None
    assert found.slot.slot_ns == ns(SLOT)
    assert found.next_ns == ns("2026-11-25T02:30")


def test_without_a_time_a_slot_whose_jitter_has_not_passed_is_not_the_latest() -> None:
    found = why(job(jitter_ns=3600 * 10**9), now=f"{SLOT}:01", latest="2026-11-23T02:30")
    assert found.slot is not None
    assert found.slot.slot_ns == ns("2026-11-23T02:30")


def test_without_a_time_a_slot_that_should_be_on_record_is_the_latest() -> None:
    found = why(job(), latest="2026-11-20T02:30")
    assert found.slot is not None
    assert found.slot.slot_ns == ns(SLOT)


def test_without_a_time_and_before_any_slot_the_next_one_is_found() -> None:
    found = why(job(since="2026-11-24T09:00"))
    assert found.slot is not None
    assert found.slot.slot_ns == ns("2026-11-25T02:30")
    assert found.outcome is Outcome.TO_COME
    assert found.next_ns == ns("2026-11-26T02:30")


def test_an_interval_from_the_end_of_a_run_has_one_known_slot() -> None:
    facts = job(every_ns=3600 * 10**9, from_finish=True, finish="2026-11-24T09:40")
    found = why(facts, latest="2026-11-24T09:30", record=SlotRecord(run("2026-11-24T09:30")))
    assert found.next_ns == ns("2026-11-24T10:40")
    assert why(facts, "2026-11-24T10:40").outcome is Outcome.TO_COME
    assert why(facts, "2026-11-24T11:40").outcome is Outcome.NOT_DUE
    assert why(facts, "2026-11-24T08:40").outcome is Outcome.NOT_DUE


def test_an_interval_with_a_start_counts_from_it() -> None:
    facts = job(every_ns=3600 * 10**9, starts_at_ns=ns("2026-11-24T09:15"), anchor="2026-11-01T00:07")
    assert why(facts, "2026-11-24T09:15").not_due is None
    assert why(facts, "2026-11-24T08:15").outcome is Outcome.NOT_DUE


# --- ran, skipped, to come ---


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("succeeded", Outcome.RAN),
        ("failed", Outcome.RAN),
        ("lost", Outcome.RAN),
        ("queued", Outcome.QUEUED),
        ("running", Outcome.RUNNING),
    ],
)
def test_a_slot_with_a_run_has_the_outcome_of_its_run(state: str, outcome: Outcome) -> None:
    found = account(job(), record=SlotRecord(run(SLOT, state=state)))
    assert isinstance(found, Ran)
    assert found.outcome is outcome


def test_a_run_that_was_dropped_is_a_skip() -> None:
    given_up = run(SLOT, state="skipped")
    found = account(job(), record=SlotRecord(given_up, skip(SLOT, "late", "3h late", run=given_up.id)))
    assert isinstance(found, Skipped)
    # Where the row that says why has been removed, the run still says that.
    alone = account(job(), record=SlotRecord(given_up))
    assert isinstance(alone, Ran)
    assert alone.outcome is Outcome.SKIPPED


def test_a_slot_ahead_is_to_come_and_so_is_one_whose_jitter_has_not_passed() -> None:
    found = account(job(), "2026-11-25T02:30")
    assert found == ToCome(ns("2026-11-25T02:30"))
    jittered = job(jitter_ns=3600 * 10**9)
    found = account(jittered, now=f"{SLOT}:01")
    assert isinstance(found, ToCome)
    assert ns(SLOT) < found.due_ns <= ns(SLOT) + 3600 * 10**9


def test_parts_of_a_lateness_add_up() -> None:
    late = lateness(
        run(SLOT, due=f"{SLOT}:10", queued=f"{SLOT}:11", begun=f"{SLOT}:15", spawn_ns=300_000_000)
    )
    assert (late.jitter_ns, late.clock_ns, late.wait_ns, late.spawn_ns) == (
        10_000_000_000, 1_000_000_000, 4_000_000_000, 300_000_000,
    )  # fmt: skip
    assert late.total_ns == 15_300_000_000
    waiting = lateness(run(SLOT, state="queued", queued=f"{SLOT}:11"))
    assert (waiting.total_ns, waiting.wait_ns, waiting.spawn_ns) == (None, None, None)


# --- no record ---


@pytest.mark.parametrize(
    ("facts", "scheduler", "expected"),
    [
        pytest.param(
            job(since="2026-11-24T03:00"),
            SchedulerFacts(),
            Unrecorded(NoRecordReason.BEFORE_KNOWN, ns("2026-11-24T03:00")),
            id="before the job was known",
        ),
        pytest.param(
            job(removed="2026-11-20T12:00"),
            SchedulerFacts(),
            Unrecorded(NoRecordReason.REMOVED, ns("2026-11-20T12:00")),
            id="after it was removed",
        ),
        pytest.param(
            job(),
            SchedulerFacts(accounted_ns=ns("2026-11-24T09:00"), oldest_ns=ns("2026-11-24T08:00")),
            Unrecorded(NoRecordReason.NOT_KEPT, ns("2026-11-24T08:00")),
            id="older than what is kept",
        ),
        pytest.param(
            job(),
            SchedulerFacts(accounted_ns=ns("2026-11-24T09:00")),
            Unrecorded(NoRecordReason.NOT_KEPT, None),
            id="nothing is kept",
        ),
        pytest.param(
            job(),
            SchedulerFacts(accounted_ns=ns("2026-11-24T09:00"), oldest_ns=ns("2026-11-02T02:30")),
            Unrecorded(NoRecordReason.NO_RECORD, ns("2026-11-24T09:00")),
            id="a hole",
        ),
        pytest.param(
            job(),
            SchedulerFacts(
                accounted_ns=ns("2026-11-23T09:00"),
                started_ns=ns("2026-11-20T09:00"),
                stopped_ns=ns("2026-11-23T09:01"),
                last_event_ns=ns("2026-11-23T09:01"),
            ),
            Unrecorded(
                NoRecordReason.NOT_ACCOUNTED,
                ns("2026-11-23T09:00"),
                ns("2026-11-23T09:01"),
                ns("2026-11-23T09:01"),
            ),
            id="stopped since",
        ),
        pytest.param(
            job(),
            SchedulerFacts(started_ns=ns("2026-11-20T09:00"), last_event_ns=ns("2026-11-23T08:00")),
            Unrecorded(NoRecordReason.NOT_ACCOUNTED, None, None, ns("2026-11-23T08:00")),
            id="dead since",
        ),
        pytest.param(
            job(max_runs=3, run_count=3),
            SchedulerFacts(accounted_ns=ns("2026-11-23T09:00")),
            Unrecorded(NoRecordReason.USED_UP, None),
            id="no run left",
        ),
    ],
)
def test_a_slot_without_a_record_has_a_reason_for_that(
    facts: JobFacts, scheduler: SchedulerFacts, expected: Unrecorded
) -> None:
    found = why(facts, SLOT, scheduler=scheduler)
    assert found.slot is not None
    assert found.slot.result == expected
    assert found.outcome is (
        Outcome.NOT_DUE if expected.reason is NoRecordReason.USED_UP else Outcome.UNKNOWN
    )


def test_a_slot_of_this_instant_is_not_reported_as_lost() -> None:
    running = SchedulerFacts(started_ns=ns("2026-11-20T09:00"), accounted_ns=ns("2026-11-24T02:29"))
    found = account(job(), scheduler=running, now=f"{SLOT}:01")
    assert found == Unrecorded(NoRecordReason.JUST_NOW, ns(SLOT))
    stopped = replace(running, stopped_ns=ns("2026-11-24T02:29:30"))
    found = account(job(), scheduler=stopped, now=f"{SLOT}:01")
    assert isinstance(found, Unrecorded)
    assert found.reason is NoRecordReason.NOT_ACCOUNTED


def test_a_time_before_the_schedule_was_known_is_not_judged_by_it() -> None:
    found = why(job(since="2026-11-24T03:00"), "2026-11-23T14:15")
    assert found.outcome is Outcome.UNKNOWN
    assert found.is_before_known


# --- why nobody was there ---


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [event("2026-11-23T20:00", "scheduler_stopped"), event("2026-11-24T05:00", "scheduler_started")],
            Absence(Cause.STOPPED, ns("2026-11-23T20:00"), ns("2026-11-24T05:00")),
            id="stopped",
        ),
        pytest.param(
            [
                event("2026-11-22T20:00", "scheduler_stopped"),
                event("2026-11-22T21:00", "scheduler_started"),
                event("2026-11-23T23:00", "ended"),
                event("2026-11-24T05:00", "scheduler_started"),
            ],
            Absence(Cause.DIED, ns("2026-11-23T23:00"), ns("2026-11-24T05:00")),
            id="died",
        ),
        pytest.param(
            [event("2026-11-24T05:00", "suspended", length_ns=3 * 3600 * 10**9)],
            Absence(Cause.SUSPENDED, ns("2026-11-24T02:00"), ns("2026-11-24T05:00"), 3 * 3600 * 10**9),
            id="slept",
        ),
        pytest.param(
            [event("2026-11-24T05:00", "clock_stepped", delta_ns=3600 * 10**9)],
            Absence(Cause.CLOCK_STEPPED, None, ns("2026-11-24T05:00"), 3600 * 10**9),
            id="stepped forward",
        ),
        pytest.param([event("2026-11-24T05:00", "clock_stepped", delta_ns=-5)], None, id="stepped back"),
        pytest.param([event("2026-11-24T01:00", "suspended", length_ns=5)], None, id="slept before"),
        pytest.param([event("2026-11-24T06:00", "scheduler_started")], None, id="started later"),
        pytest.param([], None, id="nothing is known"),
    ],
)
def test_the_cause_of_a_late_slot_is_found(events: list[object], expected: Absence | None) -> None:
    found = find_absence(tuple(events), due_ns=ns(SLOT), reached_ns=ns("2026-11-24T05:00"))  # type: ignore[arg-type]
    assert found == expected
