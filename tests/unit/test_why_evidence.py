"""What `why` once told wrongly: absences, slots skipped together, schedulers that are gone, open runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.why_facts import as_document, event, job, ns, run, skip, text, why

from taskman_cli.core.model import Job
from taskman_cli.core.pause import Pause
from taskman_cli.core.schedule import Reboot
from taskman_cli.insight.why import Calendar, diagnose, find_slot, parse_time_query
from taskman_cli.insight.why.facts import AttemptFacts, JobFacts, SchedulerFacts, SlotRecord
from taskman_cli.insight.why.slotresult import Absence, Cause, Outcome, Ran, Skipped, Unrecorded, find_absence
from taskman_cli.insight.why.slots import NO_DEFINITION, Recorded

SLOT = "2026-11-24T02:30"
WHOLE = "Tue 2026-11-24 02:30:00+01:00"
HOUR_NS = 3600 * 10**9


def attempt(task: str, number: int, state: str, detail: str = "", **values: Any) -> AttemptFacts:
    return AttemptFacts(task, number, state, values.pop("begun_ns", ns(SLOT)), detail=detail, **values)


def told(record: SlotRecord, at: str | None = SLOT, **options: Any) -> str:
    return text(why(job(), at, record=record, **options))


# --- a slot among others that were skipped together ---


def among(facts: JobFacts, record: SlotRecord) -> Any:
    recorded = Recorded((), ns("2026-11-20T12:00"), ns("2026-11-20T14:00"), ns("2026-11-20T12:00"))
    return why(facts, "2026-11-20T13:00", recorded=recorded, record=record)


STRETCH = skip(
    "2026-11-20T12:00", "missed", "the job was changed while taskman was not running", to="2026-11-20T14:00",
    count=25, at="2026-11-20T14:02",
)  # fmt: skip


def test_a_time_among_skipped_slots_of_a_former_schedule_is_explained_by_them() -> None:
    changed = job(cron="0 * * * *", since="2026-11-20T14:02")
    found = among(changed, SlotRecord(skip=STRETCH))
    assert found.outcome is Outcome.SKIPPED
    assert text(found) == (
        "No slot of backup at Fri 2026-11-20 13:00 has a record of its own; the job has changed since. "
        "25 slots of backup, from Fri 2026-11-20 12:00:00+01:00 to 14:00:00, were skipped (missed). The "
        "journal does not say why. No run caught up on it: the job was changed while taskman was not running."
    )
    told = as_document(found)
    assert (told["outcome"], told["reason"], told["slot"]) == ("skipped", "missed", None)
    assert (told["previous_slot"], told["next_slot"]) == (None, None)
    assert told["evidence"]["stretch"]["count"] == 25
    endless = replace(STRETCH, count=None, reason="disabled", detail="enabled = false")
    assert "A very large number of slots of backup, from" in text(among(changed, SlotRecord(skip=endless)))


def test_the_schedule_of_the_time_itself_knows_its_slots_and_their_neighbours() -> None:
    earlier = replace(
        job(every_ns=300 * 10**9, anchor="2026-11-20T12:00"), replaced_ns=ns("2026-11-20T14:02")
    )
    found = among(earlier, SlotRecord(skip=STRETCH))
    assert found.slot is not None
    assert ns("2026-11-20T13:00") == found.slot.slot_ns
    assert (ns("2026-11-20T12:55"), ns("2026-11-20T13:05")) == (found.previous_ns, found.next_ns)
    assert text(found).startswith(
        "backup did not run at its slot Fri 2026-11-20 13:00:00+01:00: it was skipped"
    )
    assert as_document(found)["limits"] == {"changed": "2026-11-20T14:02:00+01:00"}


def test_a_time_that_was_not_a_slot_of_an_earlier_schedule_says_until_when_it_applied() -> None:
    earlier = replace(job(), replaced_ns=ns("2026-11-24T12:00"))
    assert (
        'Its schedule was "30 2 * * *": hour 5 is not 2. It was changed at Tue 2026-11-24 12:00:00+01:00. '
        "The nearest"
    ) in text(why(earlier, "2026-11-24T05:30"))


def test_a_slot_after_a_change_of_schedule_does_not_count() -> None:
    facts = replace(job(), replaced_ns=ns("2026-11-23T12:00"))
    assert f"backup has no slot at {WHOLE}: its schedule was changed at Mon 2026-11-23 12:00:00." in text(
        why(facts, SLOT)
    )


def test_a_slot_whose_jitter_ends_after_the_job_was_removed_does_not_count() -> None:
    facts = job(jitter_ns=HOUR_NS, removed=f"{SLOT}:01")
    found = why(facts, latest="2026-11-23T02:30", record=SlotRecord(run("2026-11-23T02:30")))
    assert found.slot is not None
    assert ns("2026-11-23T02:30") == found.slot.slot_ns
    assert f"backup has no slot at {WHOLE}: it was found to be removed" in text(why(facts, SLOT))


# --- nobody was there ---


@pytest.mark.parametrize(
    ("kind", "cause", "words"),
    [
        pytest.param(
            "scheduler_started", Cause.SCHEDULER_DIED,
            "The scheduler was not running: it ended (killed, crashed or restarted) some time after "
            "02:29:00, and the supervisor started another at 02:30:03.",
            id="killed",
        ),
        pytest.param(
            "ledger_writable", Cause.UNWRITABLE,
            "The ledger could not be written, according to the journal at 02:30:03: again.", id="a full disk",
        ),
        pytest.param(
            "ledger_unwritable", Cause.UNWRITABLE,
            "The ledger could not be written, according to the journal at 02:30:03: again.", id="full still",
        ),
        pytest.param(
            "stalled", Cause.STALLED,
            "The scheduler was stalled, according to the journal at 02:30:03: again.", id="stood still",
        ),
    ],
)  # fmt: skip
def test_a_slot_that_was_reached_late_says_why(kind: str, cause: Cause, words: str) -> None:
    events = (event("2026-11-24T02:29", "ended"), event(f"{SLOT}:03", kind, detail="again"))
    late = run(SLOT, queued=f"{SLOT}:04")
    found = why(job(), SLOT, record=SlotRecord(late, events=events))
    assert found.slot is not None
    assert isinstance(found.slot.result, Ran)
    assert found.slot.result.absence is not None
    assert cause is found.slot.result.absence.cause
    assert f"It started 4s late: 4s until the scheduler reached it. {words} It succeeded" in text(found)
    overlapped = skip(SLOT, "overlap", "run 67b is not over", at=f"{SLOT}:04")
    found = why(job(), SLOT, record=SlotRecord(skip=overlapped, events=events))
    assert text(found).endswith(f"(overlap). On record: run 67b is not over. {words}")
    assert as_document(found)["evidence"]["absence"]["cause"] == cause
    on_time = run(SLOT, queued=f"{SLOT}:00.050")
    assert words not in told(SlotRecord(on_time, events=events))


def test_a_scheduler_that_died_with_an_empty_journal_is_reported_without_a_beginning() -> None:
    events = (event(f"{SLOT}:03", "scheduler_started", detail="again"),)
    assert Absence(Cause.SCHEDULER_DIED, None, ns(f"{SLOT}:03")) == find_absence(
        events, due_ns=ns(SLOT), reached_ns=ns(f"{SLOT}:04")
    )
    assert "No scheduler was running until the supervisor started another, at 02:30:03." in told(
        SlotRecord(run(SLOT, queued=f"{SLOT}:04"), events=events)
    )
    quiet = (event(f"{SLOT}:03", "stalled"),)
    assert "The scheduler was stalled, according to the journal at 02:30:03." in told(
        SlotRecord(run(SLOT, queued=f"{SLOT}:04"), events=quiet)
    )


def test_slots_between_the_first_and_last_of_a_skip_have_no_known_time() -> None:
    stretch = skip(
        "2026-11-23T02:30", "missed", "reached 6s late", at="2026-11-23T02:30:06", to="2026-11-25T02:30",
        at_to="2026-11-25T02:30:06", count=3,
    )  # fmt: skip
    between = why(job(), SLOT, record=SlotRecord(skip=stretch), now="2026-11-26T10:00")
    assert between.slot is not None
    assert isinstance(between.slot.result, Skipped)
    assert between.slot.result.reached_ns is None
    assert "taskman reached it" not in text(between)
    assert "No run caught up on it: on_missed, start_deadline and overlap decide that." in text(between)
    last = text(why(job(), "2026-11-25T02:30", record=SlotRecord(skip=stretch), now="2026-11-26T10:00"))
    assert "taskman reached it 6s late, at 02:30:06." in last


@pytest.mark.parametrize(
    ("trigger", "words"),
    [("catch_up", "caught up on it."), ("slot", "was still in time.")],
)
def test_a_missed_slot_names_the_run_of_a_later_one(trigger: str, words: str) -> None:
    later = run("2026-11-24T02:40", queued="2026-11-24T02:40:03", trigger=trigger)
    missed = skip(SLOT, "missed", "reached 10m3s late", at="2026-11-24T02:40:03")
    assert told(SlotRecord(skip=missed, made_up=later)).endswith(
        f"Run {later.id}, for the later slot 02:40:00, {words}"
    )


# --- nobody is there ---

DEAD = SchedulerFacts(
    accounted_ns=ns("2026-11-24T02:29"), started_ns=ns("2026-11-20T09:00"),
    last_event_ns=ns("2026-11-24T02:29"), is_running=False,
)  # fmt: skip


def test_a_slot_without_a_scheduler_is_not_said_to_be_recorded_soon() -> None:
    found = why(job(), scheduler=DEAD, now=f"{SLOT}:01")
    assert text(found).startswith(
        f"The slot {WHOLE} of backup has passed and is not on record: no scheduler has run since "
        "the last one died, some time after 02:29:00. The next scheduler will catch up on it or "
        "skip it, depending on on_missed and start_deadline."
    )
    assert as_document(found)["scheduler_runs"] is False
    assert "But no scheduler" not in text(found)


def test_a_slot_that_a_running_scheduler_has_not_handled_names_possible_causes() -> None:
    there = replace(DEAD, is_running=True)
    assert "is due at its slot" in text(why(job(), SLOT, scheduler=there, now=f"{SLOT}:01"))
    late = text(why(job(), SLOT, scheduler=there, now=f"{SLOT}:10"))
    assert (
        "although taskman is running: its scheduler is stalled, has just died, or cannot write the ledger."
        in late
    )
    for detail, words in (("disk full", ": disk full."), ("", ".")):
        full = replace(there, unwritable=event("2026-11-24T02:00", "ledger_unwritable", detail=detail))
        found = why(job(), SLOT, scheduler=full, now=f"{SLOT}:10")
        assert text(found) == (
            f"The slot {WHOLE} of backup has passed and is not on record: the ledger cannot be "
            f"written, according to the journal at 02:00:00{words} Nothing starts until it can be."
        )
        assert as_document(found)["evidence"]["unwritable"] == detail


def test_what_the_scheduler_says_about_its_ledger_counts_at_once() -> None:
    full = replace(DEAD, is_running=True, trouble="disk full", accounted_ns=ns("2026-11-23T02:31"))
    found = why(job(), SLOT, scheduler=full, now=f"{SLOT}:01")
    assert text(found) == (
        f"The slot {WHOLE} of backup has passed and is not on record: the ledger cannot be written (disk "
        "full), and nothing starts until it can be. Slots that were due until Mon 2026-11-23 "
        "02:31:00 are on record."
    )
    assert as_document(found)["evidence"]["unwritable"] == "disk full"
    early = text(why(job(), SLOT, scheduler=replace(full, accounted_ns=None), now=f"{SLOT}:01"))
    assert early.endswith("nothing starts until it can be.")


def test_future_slots_and_unfinished_runs_say_that_no_scheduler_is_running() -> None:
    running = SlotRecord(run(SLOT, state="running"))
    as_of_then = (
        "Runs shown as running or waiting were so when last recorded; the next scheduler "
        "will find out what became of them."
    )
    assert told(running, scheduler=DEAD).endswith(f"It started on time (2ms after). {as_of_then}")
    blocked = skip(SLOT, "overlap", blocker=running.run, blocker_id="67b")
    assert told(SlotRecord(skip=blocked), scheduler=DEAD).endswith(as_of_then)
    before = text(why(job(), latest="2026-11-23T02:30", before=running, scheduler=DEAD))
    assert before.endswith(as_of_then)
    assert as_of_then not in told(SlotRecord(run(SLOT)), scheduler=DEAD)
    to_come = text(why(job(), "2026-11-25T02:30", scheduler=DEAD))
    assert to_come.endswith("some time after Tue 2026-11-24 02:29:00: nothing starts until one runs.")
    stopped = replace(DEAD, stopped_ns=ns("2026-11-24T02:29:30"))
    asked = text(why(job(), latest=SLOT, record=SlotRecord(run(SLOT)), scheduler=stopped))
    assert asked.endswith(
        "But no scheduler has run since it was stopped at Tue 2026-11-24 02:29:30: nothing starts "
        "until one runs."
    )
    # What is over is over.
    assert "But no scheduler" not in told(SlotRecord(run(SLOT)), scheduler=DEAD)
    assert "But no scheduler" not in told(running, scheduler=replace(DEAD, is_running=True))


# --- words ---


def test_the_delay_before_a_retry_is_reported() -> None:
    end_ns = ns(f"{SLOT}:01")
    first = attempt("main", 1, "failed", "exit 3", ended_ns=end_ns, next_ns=ns(f"{SLOT}:31"))
    waiting = run(SLOT, state="running", attempts=[first])
    assert told(SlotRecord(waiting), now=f"{SLOT}:21").endswith(
        "Attempt 1 failed (exit 3). Attempt 2 is to begin at 02:30:31, in 10s."
    )
    assert told(SlotRecord(waiting), now=f"{SLOT}:41").endswith(
        "Attempt 2 was to begin at 02:30:31, 10s ago."
    )
    second = attempt("main", 2, "succeeded", "exit 0", begun_ns=ns(f"{SLOT}:31"), ended_ns=ns(f"{SLOT}:32"))
    third = attempt("main", 3, "succeeded", "exit 0", begun_ns=ns(f"{SLOT}:32"))
    over = run(SLOT, attempts=[first, second, third])
    assert (
        "It had 3 attempts: attempt 1 failed (exit 3); attempt 2, 30s later, succeeded (exit 0); attempt 3 "
        "succeeded (exit 0). The run succeeded, after 1s"
    ) in told(SlotRecord(over))
    tasks = run(SLOT, state="running", attempts=[replace(first, task="a"), attempt("b", 1, "running")])
    found = told(SlotRecord(tasks), now=f"{SLOT}:21")
    assert found.endswith(
        "Of its tasks, a failed (exit 3); b is running. Attempt 2 of a is to begin at 02:30:31, in 10s."
    )
    in_json = as_document(why(job(), SLOT, record=SlotRecord(tasks)))
    assert in_json["evidence"]["run"]["attempts"][0]["next"] == "2026-11-24T02:30:31+01:00"


def test_a_run_between_two_attempts_is_not_said_to_be_running() -> None:
    first = attempt("main", 1, "failed", "exit 3", ended_ns=ns(f"{SLOT}:01"), next_ns=ns(f"{SLOT}:31"))
    waiting = run(SLOT, state="running", attempts=[first])
    assert told(SlotRecord(waiting)).startswith("backup is between two attempts for its slot")
    second = attempt("main", 2, "running")
    going = run(SLOT, state="running", attempts=[first, second])
    assert told(SlotRecord(going)).startswith("backup is running for its slot")


def test_a_command_that_could_not_be_started_did_not_run() -> None:
    failed = run(SLOT, state="failed", attempts=[attempt("main", 1, "failed", "not found: /no/such/cmd")])
    assert told(SlotRecord(failed)) == (
        f"backup could not be started for its slot {WHOLE}, as run {failed.id}. It failed (not found: "
        "/no/such/cmd), after 1s, at 02:30:01."
    )


@pytest.mark.parametrize(
    ("state", "output_bytes", "is_told"),
    [
        ("failed", 7, True),
        ("timed_out", 7, True),
        ("failed", 0, False),
        ("failed", None, False),
        ("succeeded", 7, False),
    ],
)
def test_a_failed_run_points_to_its_output(state: str, output_bytes: int | None, is_told: bool) -> None:
    ended = run(SLOT, state=state, attempts=[attempt("main", 1, state, output_bytes=output_bytes)])
    found = why(job(), SLOT, record=SlotRecord(ended))
    assert is_told is text(found).endswith(f"See its output: taskman log {ended.id}.")
    assert as_document(found)["evidence"]["run"]["attempts"][0]["output_bytes"] == output_bytes


@pytest.mark.parametrize(
    ("undone", "words"),
    [
        (("c",), "; c was never started."),
        (("c", "d"), "; c and d were never started."),
        (tuple("cdefghijkl"), "; c, d, e, f, g, h, i, j and 2 more were never started."),
    ],
    ids=["one", "two", "many"],
)
def test_tasks_that_never_started_are_named(undone: tuple[str, ...], words: str) -> None:
    attempts = [attempt("a", 1, "succeeded", "exit 0"), attempt("b", 1, "failed", "exit 2")]
    failed = replace(run(SLOT, state="failed", attempts=attempts), undone=undone)
    found = why(job(), SLOT, record=SlotRecord(failed))
    assert f"Of its tasks, a succeeded (exit 0); b failed (exit 2){words} The run failed" in text(found)
    assert as_document(found)["evidence"]["run"]["undone"] == list(undone)


def test_a_cancelled_run_says_why() -> None:
    ended = [attempt("main", 1, "cancelled", "killed by SIGTERM")]
    cancelled = replace(run(SLOT, state="cancelled", attempts=ended), cancelled="by ann (uid 7)")
    assert "It was cancelled (killed by SIGTERM) by ann (uid 7), after 1s" in told(SlotRecord(cancelled))
    tasks = replace(cancelled, attempts=(replace(ended[0], task="a"), replace(ended[0], task="b")))
    assert "The run was cancelled by ann (uid 7), after 1s" in told(SlotRecord(tasks))
    lost = replace(cancelled, attempts=(replace(ended[0], state="lost", detail="its end was not seen"),))
    assert "It was lost (its end was not seen). The run was cancelled by ann (uid 7), after 1s" in told(
        SlotRecord(lost)
    )


def test_a_blocking_run_that_was_cancelled_says_why() -> None:
    blocker = replace(run("2026-11-24T01:30", begun=f"{SLOT}:04", state="cancelled"), cancelled="by ann")
    overlapped = skip(SLOT, "overlap", blocker=blocker, blocker_id=blocker.id)
    assert told(SlotRecord(skip=overlapped)).endswith("1s later (it was cancelled by ann).")


def test_a_lost_run_says_so_once() -> None:
    detail = "exit code unknown: its supervisor had died"
    lost = replace(run(SLOT, state="lost", attempts=[attempt("main", 1, "lost", detail)]), detail=detail)
    assert told(SlotRecord(lost)).endswith(f"It was lost ({detail}), after 1s, at 02:30:01.")


def test_a_slot_that_was_triggered_early_was_not_late() -> None:
    taken = run("2026-11-25T02:30", queued="2026-11-24T09:00", due="2026-11-24T09:00", trigger="manual")
    found = why(job(), "2026-11-25T02:30", record=SlotRecord(taken))
    assert text(found) == (
        f"backup ran for its slot Wed 2026-11-25 02:30:00+01:00, as run {taken.id}, triggered on "
        "demand before "
        "its time. It succeeded (exit 0), after 1s, at Tue 2026-11-24 09:00:01."
    )
    assert as_document(found)["lateness"] is None


def test_a_pause_says_who_and_when() -> None:
    paused = skip(SLOT, "paused", "paused by ann: disk swap")
    found = why(job(), SLOT, record=SlotRecord(skip=paused, paused_ns=ns("2026-11-24T01:00")))
    assert text(found).endswith("(paused). It was paused by ann: disk swap, at 01:00:00.")
    assert as_document(found)["evidence"]["paused_at"] == "2026-11-24T01:00:00+01:00"
    assert told(SlotRecord(skip=skip(SLOT, "paused"))).endswith("(paused). The job was paused.")


def test_the_nearest_slot_of_another_day_has_its_date() -> None:
    facts = job(cron="0 6 * * *", since="2026-11-01T00:00")
    found = text(
        why(facts, "2026-11-24T05:00", scheduler=SchedulerFacts(last_event_ns=ns("2026-11-24T05:00")))
    )
    assert "The nearest slot is the one after it. The slot Tue 2026-11-24 06:00:00+01:00 of backup" in found


def test_a_job_that_has_not_started_yet_says_when_it_does() -> None:
    found = why(job(starts_at_ns=ns("2026-12-24T00:00")))
    assert "It has no slot before its starts_at, 00:00:00." in text(found)
    assert as_document(found)["limits"] == {"starts_at": "2026-12-24T00:00:00+01:00"}


def test_the_limits_are_also_reported_for_a_time_before_the_job_was_known() -> None:
    facts = job(since="2026-11-23T12:00", expires_at_ns=ns("2026-01-01T00:00"))
    assert "It has no slot from its expires_at on, Thu 2026-01-01 00:00:00." in text(
        why(facts, "2026-11-23T09:15")
    )


def test_the_limits_of_a_job_are_in_the_document() -> None:
    facts = job(
        max_runs=1, run_count=1, expires_at_ns=ns("2026-11-24T09:00"), removed="2026-11-24T09:30"
    )  # fmt: skip
    assert as_document(why(facts))["limits"] == {
        "expires_at": "2026-11-24T09:00:00+01:00", "max_runs": 1, "removed": "2026-11-24T09:30:00+01:00"
    }  # fmt: skip


def test_a_running_run_without_attempts_has_only_a_beginning() -> None:
    # Its first attempt was withdrawn, as no process could be created.
    going = run(SLOT, state="running", attempts=[])
    assert told(SlotRecord(going)).endswith("since 02:30:00 (7h30m ago).")
    assert going.number > 0


def test_a_job_known_only_by_its_runs_has_no_schedule() -> None:
    facts = replace(job(), definition=NO_DEFINITION, removed_ns=ns("2026-11-01T00:00"))
    calendar = Calendar(Job("backup", Reboot("UTC"), ()), facts)
    asked = parse_time_query("2026-11-24T14:15", timezone="UTC", now_ns=ns("2026-11-25T00:00"))
    found = diagnose(
        calendar, asked, find_slot(calendar, asked, Recorded()), {}, scheduler=DEAD, now_ns=ns(SLOT)
    )
    assert "Its schedule is no longer on record." in text(found)


# --- one-off jobs ---


def once(**values: Any) -> JobFacts:
    return replace(job(at_ns=ns("2026-11-24T12:00"), max_runs=1, **values), since_ns=0)


def test_a_cancelled_one_off_says_by_whom() -> None:
    given_up = once(removed="2026-11-24T09:00")
    head = "backup was to run once, at Tue 2026-11-24 12:00:00+01:00, but no run is on record."
    assert text(why(given_up)) == f"{head} It was cancelled at 09:00:00."
    assert text(why(replace(given_up, removed_by="ann"))) == f"{head} It was cancelled by ann at 09:00:00."
    assert "has no slot at Tue 2026-11-24 12:00:00+01:00: it was cancelled at 09:00:00." in text(
        why(given_up, "2026-11-24T12:00")
    )
    assert "It has one slot, Tue 2026-11-24 12:00:00+01:00. It was cancelled at 09:00:00." in text(
        why(given_up, "2026-11-24T11:00")
    )


def test_a_one_off_that_has_run_is_not_reported_as_removed() -> None:
    over = once(removed="2026-11-24T12:00:02", run_count=1)
    found = text(why(over, latest="2026-11-24T12:00", record=SlotRecord(run("2026-11-24T12:00"))))
    assert found.endswith("at 12:00:01. It has no other slots to come.")


def test_a_removal_does_not_explain_earlier_times() -> None:
    assert "removed" not in text(why(job(removed="2026-11-24T09:00"), "2026-11-24T05:00"))


def test_a_slot_without_a_record_has_no_further_sentences() -> None:
    found = why(job(removed="2026-11-24T01:00"), SLOT)
    assert found.slot is not None
    assert isinstance(found.slot.result, Unrecorded)
    assert as_document(found)["evidence"] == {"removed": "2026-11-24T01:00:00+01:00"}


# --- a pause, and what was taken out ---

PAUSE = Pause(ns("2026-11-24T09:59:10"), None, "lunch", "ann (uid 7)", left_ns=20_000_000_000)
STILL = "An interval has no slots during a pause; afterwards, its remaining time continues."


def interval(pause: Pause | None, **definition: Any) -> JobFacts:
    ticking = job("tick", since="2026-11-24T09:00", every_ns=30_000_000_000, **definition)
    return replace(ticking, pause=pause)


def test_an_interval_that_is_paused_has_no_slots_and_says_who_paused_it() -> None:
    ran = SlotRecord(run("2026-11-24T09:59:00"))
    found = why(interval(PAUSE), latest="2026-11-24T09:59:00", record=ran)
    assert text(found).endswith(f"It has been paused since 09:59:10 by ann (uid 7): lunch. {STILL}")
    assert text(found).startswith("tick ran for its slot Tue 2026-11-24 09:59:00+01:00")
    document = as_document(found)
    assert document["pause"] == {
        "since": "2026-11-24T09:59:10+01:00", "until": None, "by": "ann (uid 7)", "reason": "lunch"
    }  # fmt: skip
    assert None is document["next_slot"]
    nothing = text(why(interval(replace(PAUSE, since_ns=ns("2026-11-24T09:00:01")))))
    assert "it has no slots to come. It has been paused since" in nothing


def test_a_pause_with_an_end_names_the_next_slot() -> None:
    ran = SlotRecord(run("2026-11-24T09:59:00"))
    ending = interval(replace(PAUSE, until_ns=ns("2026-11-24T10:05")))
    told = text(why(ending, latest="2026-11-24T09:59:00", record=ran))
    assert "It has been paused since 09:59:10 and until 10:05:00 by ann (uid 7): lunch." in told
    assert told.endswith("The next slot is 10:05:20, in 5m20s.")
    assert "No other slot" not in told


@pytest.mark.parametrize("definition", [{}, {"from_finish": True, "finish": "2026-11-24T09:59"}])
def test_a_time_in_a_pause_is_not_a_slot_of_an_interval(definition: dict[str, Any]) -> None:
    over = interval(replace(PAUSE, until_ns=ns("2026-11-24T09:59:50"), left_ns=None), **definition)
    told = text(why(over, "2026-11-24T09:59:30"))
    assert "tick is not due at Tue 2026-11-24 09:59:30." in told
    assert f"It was paused from 09:59:10 to 09:59:50 by ann (uid 7): lunch. {STILL}" in told


def test_a_cron_job_that_is_paused_says_so_unless_its_skip_does() -> None:
    paused = replace(job(), pause=PAUSE)
    skipped = skip(SLOT, "paused", "paused by ann")
    # No slot in it is promised.
    ran = text(why(paused, latest=SLOT, record=SlotRecord(run(SLOT))))
    assert ran.endswith("Slots during a pause are skipped.")
    told = text(why(paused, latest=SLOT, record=SlotRecord(skip=skipped, paused_ns=ns("2026-11-24T02:00"))))
    assert "Slots in a pause" not in told


def test_a_job_removed_by_command_is_not_reported_as_removed_from_the_file() -> None:
    out = replace(job(removed="2026-11-24T09:00"), is_left_out=True, removed_by="ann (uid 7)")
    told = text(why(out, latest=SLOT, record=SlotRecord(run(SLOT))))
    gone = "was removed by ann (uid 7) at 09:00:00 (taskman remove): `taskman restore backup` brings it back."
    assert told.endswith(f"It has no other slots to come. It {gone}")
    assert as_document(why(out))["limits"]["left_out_by"] == "ann (uid 7)"
