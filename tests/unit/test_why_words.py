"""What `why` says: sentences for each way in which a slot can go, and the JSON document."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from unit.why_facts import as_document, event, job, ns, run, skip, text, why

from taskman_cli.core.engine.definition import job_from
from taskman_cli.core.pause import Pause
from taskman_cli.insight.why import Calendar, diagnose, find_slot, paragraph, parse_time_query
from taskman_cli.insight.why.facts import AttemptFacts, SchedulerFacts, SlotRecord, WaitFacts
from taskman_cli.insight.why.slots import Recorded
from taskman_cli.insight.why.times import ago, ahead, span

SLOT = "2026-11-24T02:30"
WHOLE = "Tue 2026-11-24 02:30:00+01:00"


def attempt(task: str, number: int, state: str, detail: str = "", **values: Any) -> AttemptFacts:
    return AttemptFacts(task, number, state, ns(SLOT), started_ns=ns(SLOT), detail=detail, **values)


def told(record: SlotRecord, at: str | None = SLOT) -> str:
    return text(why(job(), at, record=record))


# --- runs ---


def test_a_run_on_time_has_a_short_text() -> None:
    good = run(SLOT)
    assert told(SlotRecord(good)) == (
        f"backup ran for its slot {WHOLE}, as run {good.id}. It started on time (2ms after). "
        "It succeeded (exit 0), after 1s, at 02:30:01."
    )


@pytest.mark.parametrize(
    ("late", "words"),
    [
        pytest.param(
            {"queued": f"{SLOT}:03", "begun": f"{SLOT}:03"},
            "It started 3s late: 3s until the scheduler reached it.",
            id="the scheduler",
        ),
        pytest.param(
            {"queued": f"{SLOT}:00", "begun": f"{SLOT}:04"},
            "It started 4s late: 4s waiting for a worker or for its turn.",
            id="a worker",
        ),
        pytest.param(
            {"spawn_ns": 1_500_000_000}, "It started 1.5s late: 1.5s creating the process.", id="the process"
        ),
        pytest.param(
            {"due": f"{SLOT}:10", "queued": f"{SLOT}:10", "begun": f"{SLOT}:12", "spawn_ns": 90_000_000},
            "It started 12s late: 10s of jitter, 2s waiting for a worker or for its turn and 90ms creating "
            "the process.",
            id="several",
        ),
        pytest.param(
            {"queued": f"{SLOT}:00.030", "begun": f"{SLOT}:00.055", "spawn_ns": 10_000_000},
            "It started 65ms late: 30ms until the scheduler reached it.",
            id="the largest",
        ),
    ],
)
def test_lateness_is_reported_in_parts(late: dict[str, Any], words: str) -> None:
    assert words in told(SlotRecord(run(SLOT, **late)))


def test_a_run_that_waited_for_another_names_it() -> None:
    earlier = run("2026-11-23T02:30", begun=f"{SLOT}:01")
    late = run(SLOT, queued=f"{SLOT}:00", begun=f"{SLOT}:02")
    assert f"2s waiting for run {earlier.id}, which ended at 02:30:02." in told(
        SlotRecord(late, earlier=earlier)
    )
    beside = run("2026-11-23T02:30", begun=f"{SLOT}:30")
    assert "2s waiting for a worker or for its turn." in told(SlotRecord(late, earlier=beside))


def test_a_shortage_of_processes_is_reported() -> None:
    events = (event(f"{SLOT}:01", "spawn_delayed", detail="Resource temporarily unavailable"),)
    late = run(SLOT, queued=f"{SLOT}:00", begun=f"{SLOT}:02")
    assert "no process could be created (Resource temporarily unavailable)" in told(
        SlotRecord(late, events=events)
    )
    waiting = run(SLOT, state="queued")
    assert "no process could be created (Resource temporarily unavailable)" in told(
        SlotRecord(waiting, events=events)
    )


def test_a_shortage_of_one_user_is_reported_only_for_the_affected_run() -> None:
    late = run(SLOT, queued=f"{SLOT}:00", begun=f"{SLOT}:02")
    for met_by, is_told in ((late.id, True), ("another", False)):
        data = {"user": "ann", "run": met_by}
        events = (event(f"{SLOT}:01", "spawn_delayed", detail="no room", **data),)
        assert ("no process could be created (no room)" in told(SlotRecord(late, events=events))) is is_told


@pytest.mark.parametrize(
    ("attempts", "words"),
    [
        pytest.param(
            [attempt("main", 1, "failed", "exit 3")], "It failed (exit 3), after 1s", id="one attempt"
        ),
        pytest.param(
            [attempt("main", 1, "failed", "exit 3"), attempt("main", 2, "timed_out", "killed by SIGTERM")],
            "It had 2 attempts: attempt 1 failed (exit 3); attempt 2 timed out (killed by SIGTERM). The run "
            "failed, after 1s",
            id="two attempts",
        ),
        pytest.param(
            [attempt("main", number, "failed", f"exit {number}") for number in range(1, 10)],
            "It had 9 attempts, of which the last failed (exit 9). The run failed, after 1s",
            id="many attempts",
        ),
        pytest.param(
            [attempt("api", 1, "succeeded", exit_code=0), attempt("db", 1, "failed", signal=9)],
            "Of its tasks, api succeeded (exit 0); db failed (signal 9). The run failed, after 1s",
            id="tasks",
        ),
        pytest.param([], "It failed, after 1s", id="no attempt on record"),
    ],
)
def test_an_end_is_reported_with_its_attempts_and_exit_codes(
    attempts: list[AttemptFacts], words: str
) -> None:
    assert words in told(SlotRecord(run(SLOT, state="failed", attempts=attempts)))


def test_lost_output_is_reported_with_the_reason() -> None:
    full = attempt("main", 1, "succeeded", output_bytes=7, output_error="No space left on device: /x")
    lost = why(job(), SLOT, record=SlotRecord(run(SLOT, attempts=[full])))
    assert text(lost).endswith("at 02:30:01. Output was lost (No space left on device: /x).")
    assert (
        as_document(lost)["evidence"]["run"]["attempts"][0]["output_error"] == "No space left on device: /x"
    )
    assert "Output was lost" not in told(SlotRecord(run(SLOT)))


def test_a_run_that_was_lost_says_so_with_what_is_on_record() -> None:
    lost = told(SlotRecord(run(SLOT, state="lost", detail="the machine was started again")))
    assert "It was lost (its end was not seen), after 1s" in lost
    assert "On record: the machine was started again." in lost


def test_a_running_run_says_since_when_and_its_pid() -> None:
    running = run(SLOT, state="running")
    assert told(SlotRecord(running)).startswith(
        f"backup is running for its slot {WHOLE}, as run {running.id}, since 02:30:00 (7h30m ago, pid 4711). "
    )


def test_a_run_on_an_executor_says_on_which() -> None:
    running = run(SLOT, state="running")
    far = replace(running.attempts[0], pid=None, handle="far/ledger.run.main.1")
    words = told(SlotRecord(replace(running, attempts=(far,))))
    assert "since 02:30:00 (7h30m ago, on executor far). " in words


def test_a_waiting_run_says_what_it_waits_for() -> None:
    waiting = run(SLOT, state="queued")
    head = (
        f"backup has not started for its slot {WHOLE}, as run {waiting.id}. It has been waiting since "
        "02:30:00 (7h30m ago)"
    )
    assert told(SlotRecord(waiting)) == f"{head} for a worker or for its turn."
    earlier = run("2026-11-24T01:30", state="running")
    assert told(SlotRecord(waiting, earlier=earlier)) == (
        f"{head} for run {earlier.id}, which has been running since 01:30:00."
    )
    behind = run("2026-11-24T01:30", state="queued")
    assert told(SlotRecord(waiting, earlier=behind)) == (
        f"{head} behind run {behind.id}, which has not started either."
    )


HELD = WaitFacts(
    "main", "resource", "for 1 db; dump (2 db) holds it", (("dump", "2 db", "67avwsa1m4", ns(SLOT)),)
)


def test_a_run_that_waits_for_its_executor_says_why_that_is_away() -> None:
    waiting = run(SLOT, state="queued")
    wait = WaitFacts(None, "executor", "for executor far: no route to host (for 3m)", ())
    events = (event(f"{SLOT}:01", "spawn_delayed", detail="executor far: no route to host"),)
    scheduler = SchedulerFacts(waits={waiting.id: (wait,)})
    record = SlotRecord(waiting, events=events)
    found = text(why(job(), SLOT, recorded=[SLOT], record=record, scheduler=scheduler))
    assert "for executor far: no route to host (for 3m)." in found
    assert "no process could be created" not in found
    late = run(SLOT, queued=f"{SLOT}:00", begun=f"{SLOT}:02")
    assert "waiting, as nothing could begin there (executor far: no route to host)" in told(
        SlotRecord(late, events=events)
    )


def test_a_waiting_run_says_which_resource_it_waits_for_who_holds_it_and_since_when() -> None:
    waiting = run(SLOT, state="queued")
    scheduler = SchedulerFacts(waits={waiting.id: (HELD,)})
    found = why(job(), SLOT, recorded=[SLOT], record=SlotRecord(waiting), scheduler=scheduler)
    assert text(found).startswith(
        f"backup has not started for its slot {WHOLE}, as run {waiting.id}. It has been waiting since "
        "02:30:00 (7h30m ago) for 1 db; dump (2 db) holds it. "
        "Run 67avwsa1m4 of dump has held 2 db since 02:30:00."
    )
    (wait,) = as_document(found)["evidence"]["waits"]
    assert (wait["for"], wait["holders"][0]["amount"]) == ("resource", "2 db")


def test_a_run_behind_another_says_for_what_that_one_waits() -> None:
    behind = run("2026-11-24T01:30", state="queued")
    waiting = run(SLOT, state="queued")
    own = WaitFacts(None, "earlier_run", f"for run {behind.id} of its job to end")
    record = SlotRecord(waiting, earlier=behind)
    for task, words in (("main", f"Run {behind.id} waits"), ("b", f"Task b of run {behind.id} waits")):
        waits = {behind.id: (replace(HELD, task=task),), waiting.id: (own,)}
        scheduler = SchedulerFacts(waits=waits)
        assert text(why(job(), SLOT, recorded=[SLOT], record=record, scheduler=scheduler)).startswith(
            f"backup has not started for its slot {WHOLE}, as run {waiting.id}. It has been waiting since "
            f"02:30:00 (7h30m ago) behind run {behind.id}, which has not started either. "
            f"{words} for 1 db; dump (2 db) holds it. Run 67avwsa1m4 of dump has held 2 db since 02:30:00."
        )
    scheduler = SchedulerFacts(waits={behind.id: (HELD,)})  # of many, the last are not named
    assert "Run 67avwsa1m4" in text(why(job(), SLOT, recorded=[SLOT], record=record, scheduler=scheduler))
    scheduler = SchedulerFacts(waits={waiting.id: (own,)})
    assert "waits" not in text(why(job(), SLOT, recorded=[SLOT], record=record, scheduler=scheduler))


def test_a_run_that_is_over_waits_for_nothing_though_the_scheduler_said_so_a_moment_before() -> None:
    ended = run(SLOT)
    scheduler = SchedulerFacts(waits={ended.id: (HELD,)})
    found = text(why(job(), SLOT, recorded=[SLOT], record=SlotRecord(ended), scheduler=scheduler))
    assert "succeeded" in found
    assert "waits" not in found
    assert "has held" not in found


@pytest.mark.parametrize(
    ("attempts", "words"),
    [
        ([attempt("only_if", 1, "succeeded", exit_code=0)], "commands"),
        ([attempt("a", 1, "failed", next_ns=1), attempt("a", 2, "succeeded")], "commands"),
        ([attempt("a", 1, "succeeded"), attempt("b", 1, "failed", next_ns=1)], "attempts"),
    ],
    ids=["after only_if", "after a task that was retried", "before a retry"],
)
def test_a_run_without_a_command_just_now_is_between_commands_or_attempts_of_one(
    attempts: list[AttemptFacts], words: str
) -> None:
    waiting = run(SLOT, state="running", attempts=attempts)
    assert told(SlotRecord(waiting)).startswith(f"backup is between two {words} for its slot")


def test_a_run_that_has_begun_says_which_of_its_tasks_wait() -> None:
    running = run(SLOT, state="running")
    waits = (replace(HELD, task="b"), replace(HELD, task="c", kind="retry"))
    scheduler = SchedulerFacts(waits={running.id: waits})
    found = text(why(job(), SLOT, recorded=[SLOT], record=SlotRecord(running), scheduler=scheduler))
    assert "Its task b waits for 1 db; dump (2 db) holds it." in found
    assert "Its task c" not in found
    assert found.count("Run 67avwsa1m4 of dump") == 1


def test_a_catch_up_run_says_what_was_missed_and_why() -> None:
    late = run(SLOT, queued="2026-11-24T05:00:01", trigger="catch_up")
    events = (event("2026-11-23T23:00", "scheduler_stopped"), event("2026-11-24T05:00", "scheduler_started"))
    assert told(SlotRecord(late, events=events)) == (
        f"backup missed its slot {WHOLE}; run {late.id} caught up on it 2h30m later, at 05:00:01. "
        "taskman was stopped at Mon 2026-11-23 23:00:00 and started again at Tue 2026-11-24 05:00:00. "
        "It succeeded (exit 0), after 1s, at 05:00:02."
    )
    slept = (event("2026-11-24T05:00", "suspended", length_ns=3 * 3600 * 10**9),)
    assert "The machine was suspended from 02:00:00 to 05:00:00." in told(SlotRecord(late, events=slept))
    assert "The journal does not say why." in told(SlotRecord(late))
    waited = run(SLOT, queued="2026-11-24T05:00:01", begun="2026-11-24T05:00:06", trigger="catch_up")
    assert "It started 5s after that: 5s waiting for a worker or for its turn." in told(SlotRecord(waited))


def test_a_run_without_a_slot_names_its_trigger() -> None:
    start = text(
        why(job(reboot=True), latest=SLOT, record=SlotRecord(run(None, queued=SLOT, trigger="start")))
    )
    assert start.startswith("backup ran as run ")
    assert f", triggered by the start of the scheduler, at {WHOLE}. It started on time" in start
    asked = run(None, queued=SLOT, trigger="manual")
    manual = text(why(job(), latest=SLOT, record=SlotRecord(asked)))
    assert f"backup ran as run {asked.id}, triggered on demand, at {WHOLE}." in manual
    by = replace(asked, asked_by="ann (uid 7)")
    assert "triggered by ann (uid 7), at" in text(why(job(), latest=SLOT, record=SlotRecord(by)))
    before_its_time = run(SLOT, queued="2026-11-24T01:00", trigger="manual")
    assert f"as run {before_its_time.id}, triggered on demand before its time." in told(
        SlotRecord(before_its_time)
    )
    once = run(None, queued=SLOT, trigger="once")
    assert f"as run {once.id}, a one-off, at" in text(why(job(), latest=SLOT, record=SlotRecord(once)))


def test_runs_that_did_not_start_or_are_unfinished_are_reported_as_such() -> None:
    cancelled = replace(run(SLOT, state="queued"), state="cancelled", ended_ns=ns(f"{SLOT}:05"))
    assert told(SlotRecord(cancelled)) == (
        f"backup did not start for its slot {WHOLE}, as run {cancelled.id}. It was cancelled, at 02:30:05."
    )
    retried = run(
        SLOT,
        state="running",
        attempts=[attempt("main", 1, "failed", "exit 3"), attempt("main", 2, "running")],
    )
    assert "It had 2 attempts: attempt 1 failed (exit 3); attempt 2 is running." in told(SlotRecord(retried))
    several = run(
        SLOT,
        state="running",
        attempts=[attempt("a", 1, "succeeded", exit_code=0), attempt("b", 1, "running")],
    )
    assert told(SlotRecord(several)).endswith("Of its tasks, a succeeded (exit 0); b is running.")
    made_up = run(SLOT, queued="2026-11-24T05:00", state="running", trigger="catch_up")
    words = (
        f"run {made_up.id} was queued to catch up on it 2h30m later, at 05:00:00, and is "
        "running, since 05:00:00"
    )
    assert words in told(SlotRecord(made_up))


@pytest.mark.parametrize(
    ("events", "words"),
    [
        pytest.param(
            [event("2026-11-24T05:00", "scheduler_started")],
            "taskman was started at 05:00:00, and the journal goes back no further.",
            id="the start of the journal",
        ),
        pytest.param(
            [event("2026-11-24T05:00", "suspended")],
            "The machine was suspended until 05:00:00.",
            id="nobody knows since when",
        ),
        pytest.param(
            [event("2026-11-24T05:00", "clock_stepped", delta_ns=5400 * 10**9)],
            "The clock was set forward by 1h30m at 05:00:00.",
            id="a step",
        ),
    ],
)
def test_an_absence_is_reported_as_far_as_it_is_known(events: list[Any], words: str) -> None:
    late = run(SLOT, queued="2026-11-24T05:00", trigger="catch_up")
    assert words in told(SlotRecord(late, events=tuple(events)))


def test_a_run_that_is_stopped_or_was_says_since_when_and_for_how_long() -> None:
    going = replace(attempt("main", 1, "running"), stop_ns=ns("2026-11-24T02:31"), ended_ns=None)
    found = told(SlotRecord(run(SLOT, state="running", attempts=(going,))))
    assert found.endswith(
        "It has been stopped since 02:31:00 (7h29m ago), until it is resumed; meanwhile its "
        "timeout does not run."
    )
    over = replace(
        attempt("main", 1, "succeeded"), stopped_for_ns=90 * 10**9, ended_ns=ns("2026-11-24T02:35")
    )
    found = told(SlotRecord(run(SLOT, attempts=(over,))))
    assert "It was stopped for 1m30s of that, which does not count towards its timeout." in found


def test_a_run_that_was_to_be_stopped_and_cannot_be_says_that_it_goes_on() -> None:
    going = replace(attempt("main", 1, "running"), ended_ns=None)
    stopped = run(SLOT, state="running", attempts=(going,))
    words = "It goes on, and so does its timeout: it was to be stopped, and cannot be."
    since_ns = ns("2026-11-24T03:00")
    for until_ns, stops_to, is_told in (
        (None, stopped.number, True),
        (None, stopped.number - 1, False),
        (None, None, False),
        (since_ns + 1, stopped.number, False),
    ):
        paused = replace(job(), pause=Pause(since_ns, until_ns, stops_to=stops_to))
        assert (words in text(why(paused, SLOT, record=SlotRecord(stopped)))) is is_told


# --- skips ---


def test_an_overlap_names_the_blocking_run() -> None:
    running = run("2026-11-24T01:30", state="running")
    assert told(SlotRecord(skip=skip(SLOT, "overlap", blocker=running, blocker_id=running.id))) == (
        f"backup did not run at its slot {WHOLE}: it was skipped (overlap). Run {running.id} "
        "blocked it: it began at 01:30:00 (8h30m ago) and is still running."
    )
    over = run("2026-11-24T01:30", begun=f"{SLOT}:04", state="failed")
    assert "began at 02:30:04, 1h after it was queued, and ended at 02:30:05, 1s later (it failed)." in told(
        SlotRecord(skip=skip(SLOT, "overlap", blocker=over, blocker_id=over.id))
    )
    queued = run("2026-11-24T01:30", state="queued")
    assert "it was queued at 01:30:00 (8h30m ago) and is still waiting." in told(
        SlotRecord(skip=skip(SLOT, "overlap", blocker=queued, blocker_id=queued.id))
    )
    never = replace(queued, state="cancelled")
    assert "it was queued at 01:30:00 and never started." in told(
        SlotRecord(skip=skip(SLOT, "overlap", blocker=never, blocker_id=never.id))
    )
    lost = run("2026-11-24T01:30", state="lost")
    assert "it began at 01:30:00 and was marked as lost at 01:30:01." in told(
        SlotRecord(skip=skip(SLOT, "overlap", blocker=lost, blocker_id=lost.id))
    )
    assert told(SlotRecord(skip=skip(SLOT, "overlap"))).endswith("it was skipped (overlap).")
    assert "Run 67aw6659v3 blocked it; its record has since been removed." in told(
        SlotRecord(skip=skip(SLOT, "overlap", blocker_id="67aw6659v3"))
    )
    assert "On record: 3 runs are not over." in told(
        SlotRecord(skip=skip(SLOT, "overlap", "3 runs are not over"))
    )
    assert "Run 67aw6659v3 was queued for it and dropped: replaced by run 67b." in told(
        SlotRecord(skip=skip(SLOT, "overlap", "replaced by run 67b", run="67aw6659v3"))
    )


def test_a_missed_slot_says_how_late_it_was_reached_why_and_which_run_caught_up() -> None:
    made_up = run("2026-11-24T04:30", queued="2026-11-24T05:00", trigger="catch_up")
    events = (event("2026-11-23T23:00", "ended"), event("2026-11-24T05:00", "scheduler_started"))
    missed = skip(SLOT, "missed", "2h30m late", at="2026-11-24T05:00")
    assert told(SlotRecord(skip=missed, made_up=made_up, events=events)) == (
        f"backup did not run at its slot {WHOLE}: it was skipped (missed). taskman reached it 2h30m late, at "
        "05:00:00. taskman was not running: it died (killed, crashed, or the machine went down) "
        "some time after Mon 2026-11-23 23:00:00, and was started again at Tue 2026-11-24 05:00:00. "
        f"Run {made_up.id}, for the later slot 04:30:00, caught up on it."
    )


def test_slots_that_were_skipped_together_are_reported_as_one_of_many() -> None:
    stretch = skip(SLOT, "disabled", "enabled = false", to="2026-11-26T02:30", count=1234)
    assert told(SlotRecord(skip=stretch)) == (
        f"backup did not run at its slot {WHOLE}: it was skipped (disabled). The job was disabled "
        "(enabled = false). It is one of 1,234 slots skipped in a row for the same reason, from "
        "02:30:00 to Thu "
        "2026-11-26 02:30:00."
    )
    endless = skip(SLOT, "missed", to="2026-11-26T02:30", count=None, at="2026-11-26T05:00")
    assert "It is one of a very large number of slots" in told(SlotRecord(skip=endless))


def test_a_late_slot_says_what_it_waited_for() -> None:
    earlier = run("2026-11-24T01:30", state="running")
    late = skip(SLOT, "late", "1h1s late", run="67aw6659v3", at="2026-11-24T03:30:01")
    found = told(SlotRecord(run(SLOT, state="skipped"), late, earlier=earlier))
    assert "Run 67aw6659v3 was queued for it and dropped: 1h1s late." in found
    assert "It could not start within its start_deadline." in found
    alone = told(SlotRecord(skip=skip(SLOT, "late", "1h1s late")))
    assert alone.endswith("it was skipped (late). It could not start within its start_deadline.")
    assert f"Run {earlier.id} blocked it" in found


def test_an_unknown_reason_is_reported_as_recorded() -> None:
    assert told(SlotRecord(skip=skip(SLOT, "paused", "paused by ann until 05:00"))) == (
        f"backup did not run at its slot {WHOLE}: it was skipped (paused). It was paused by ann until 05:00."
    )


def test_a_reason_without_details_stands_alone() -> None:
    assert told(SlotRecord(skip=skip(SLOT, "gate"))).endswith("it was skipped (gate).")
    given_up = told(SlotRecord(skip=skip(SLOT, "gate", run="67aw6659v3")))
    assert given_up.endswith("Run 67aw6659v3 was queued for it and dropped: no reason is on record.")


def test_control_characters_on_record_do_not_reach_the_terminal() -> None:
    found = told(SlotRecord(skip=skip(SLOT, "gate", "\x1b[2Jgone\nnext")))
    assert "\\x1b[2Jgone next" in found


# --- not due ---


@pytest.mark.parametrize(
    ("definition", "at", "words"),
    [
        pytest.param(
            {},
            "2026-11-24T14:15",
            'Its schedule is "30 2 * * *": minute 15 is not 30 and hour 14 is not 2.',
            id="fields",
        ),
        pytest.param(
            {"cron": "*/20 1-3 * * 1"},
            "2026-11-24T14:15",
            "minute 15 is not in */20, hour 14 is not in 1-3 and day of week 2 (Tue) is not 1.",
            id="sets",
        ),
        pytest.param(
            {"cron": "0 0 1 6 MON"},
            "2026-11-24T00:00",
            (
                "day of month 24 is not 1, month 11 (Nov) is not 6 and day of week 2 (Tue) is not "
                "MON. It is enough that day of month or day of week matches, since neither starts with *."
            ),
            id="either day",
        ),
        pytest.param(
            {"cron": "0 0 */2 * TUE"},
            "2026-11-24T00:00",
            (
                "day of month 24 is not in */2. Day of month and day of week must both match, since "
                "one of them starts with *."
            ),
            id="both days",
        ),
        pytest.param(
            {"cron": "@daily"}, "2026-11-24T09:00", 'Its schedule is "@daily": hour 9 is not 0.', id="a word"
        ),
        pytest.param({"cron": "30 2 * * *"}, "2026-11-24T02:30:15", "second 15 is not 0.", id="a second"),
        pytest.param(
            {"every_ns": 3600 * 10**9, "anchor": "2026-11-01T00:07"},
            "2026-11-24T09:00",
            "It runs every 1h, counted from Sun 2026-11-01 00:07:00+01:00. The nearest slot is the "
            "one after it.",
            id="an interval",
        ),
        pytest.param(
            {"every_ns": 3600 * 10**9, "from_finish": True, "finish": "2026-11-24T09:40"},
            "2026-11-24T09:00",
            "It runs 1h after the end of each run; the last one ended at Tue 2026-11-24 09:40:00+01:00.",
            id="from the end",
        ),
        pytest.param(
            {"at_ns": ns("2026-12-24T15:00")},
            "2026-11-24T09:00",
            "It has one slot, Thu 2026-12-24 15:00:00+01:00.",
            id="at",
        ),
        pytest.param({"reboot": True}, "2026-11-24T09:00", "It has no times: @reboot", id="@reboot"),
        pytest.param(
            {"starts_at_ns": ns("2026-11-25T00:00")},
            SLOT,
            "It has no slot before its starts_at, Wed 2026-11-25 00:00:00+01:00.",
            id="before its start",
        ),
        pytest.param(
            {"expires_at_ns": ns("2026-11-23T00:00")},
            SLOT,
            "It has no slot from its expires_at on, Mon 2026-11-23 00:00:00+01:00.",
            id="after its end",
        ),
        pytest.param(
            {"removed": "2026-11-23T00:00"},
            "2026-11-24T14:15",
            "It was found to be removed from the job file at Mon 2026-11-23 00:00:00+01:00.",
            id="removed",
        ),
        pytest.param(
            {"max_runs": 2, "run_count": 2},
            "2026-11-24T14:15",
            "It has used up its runs (max_runs = 2).",
            id="used up",
        ),
    ],
)
def test_a_time_that_is_not_a_slot_is_explained(definition: dict[str, Any], at: str, words: str) -> None:
    found = text(why(job(**definition), at))
    assert found.startswith("backup is not due at Tue 2026-11-24 ")
    assert words in found


@pytest.mark.parametrize(
    ("cron", "at", "words"),
    [
        pytest.param(
            "30 2 * * *",
            "2026-03-29T02:30",
            "But 02:30 does not exist that day: the clocks jump from 02:00 to 03:00. A schedule whose "
            "minute and hour do not start with * then runs once, at the first instant after the gap.",
            id="gap, fixed",
        ),
        pytest.param("*/30 * * * *", "2026-03-29T02:30", "has no slot in the gap.", id="gap, wildcard"),
        pytest.param(
            "0 5 * * *",
            "2026-03-29T02:30",
            "hour 2 is not 5. And 02:30 does not exist that day: the clocks jump",
            id="gap, no match anyway",
        ),
        pytest.param(
            "0 5 * * *",
            "2026-10-25T02:30",
            "hour 2 is not 5. The nearest slot is",
            id="overlap, no match anyway",
        ),
        pytest.param(
            "30 2 * * *",
            "2026-03-29T03:00",
            (
                "The clocks skipped one of its times, from 02:00 to 03:00: it runs at the first "
                "instant after the gap instead."
            ),
            id="the slot after a gap",
        ),
        pytest.param(
            "30 2 * * *",
            "2026-10-25T02:30",
            "That day 02:30 comes twice: the clocks go back from 03:00 to 02:00. A schedule whose "
            "minute and hour do not start with * is due in the first pass only.",
            id="overlap, fixed",
        ),
        pytest.param(
            "*/30 * * * *", "2026-10-25T02:30", "The schedule is due in both passes.", id="overlap, wildcard"
        ),
        pytest.param(
            "30 2 * * *",
            "2026-10-25T02:30+01:00",
            "is due in the first pass only. This is the second pass.",
            id="second pass, fixed",
        ),
    ],
)
def test_a_clock_change_is_explained(cron: str, at: str, words: str) -> None:
    assert words in text(why(job(cron=cron, since="2026-01-01T00:00"), at))


def test_after_a_change_of_the_calendar_nothing_is_caught_up() -> None:
    facts = job(cron="0 12 * * *", timezone="Pacific/Apia", since="2011-01-01T00:00")
    calendar = Calendar(job_from(facts.name, facts.definition), facts)
    asked = parse_time_query("2011-12-30T12:00", timezone="Pacific/Apia", now_ns=ns("2026-11-24T10:00"))
    found = diagnose(
        calendar,
        asked,
        find_slot(calendar, asked, Recorded()),
        {},
        scheduler=SchedulerFacts(),
        now_ns=asked.at_ns,
    )
    words = paragraph(found, ZoneInfo("Pacific/Apia"))
    assert "the clocks jump from Fri 2011-12-30 00:00 to Sat 2011-12-31 00:00." in words
    assert "After a jump this large, nothing is caught up." in words


# --- no record, to come ---


@pytest.mark.parametrize(
    ("facts", "scheduler", "words"),
    [
        pytest.param(
            job(since="2026-11-24T03:00"),
            SchedulerFacts(),
            (
                f"There is no record of the slot {WHOLE} of backup: taskman has recorded the slots of "
                "this schedule since 03:00:00."
            ),
            id="before it was known",
        ),
        pytest.param(
            job(),
            SchedulerFacts(accounted_ns=ns("2026-11-23T09:00"), stopped_ns=ns("2026-11-23T09:01")),
            "has passed and is not on record: no scheduler has run since it was stopped at Mon 2026-11-23 "
            "09:01:00. The next scheduler will catch up on it or skip it, depending on on_missed "
            "and start_deadline.",
            id="stopped",
        ),
        pytest.param(
            job(),
            SchedulerFacts(last_event_ns=ns("2026-11-23T08:00")),
            "no scheduler has run since the last one died, some time after Mon 2026-11-23 08:00:00.",
            id="dead",
        ),
        pytest.param(job(), SchedulerFacts(), "no scheduler has ever run.", id="nothing at all"),
        pytest.param(
            job(every_ns=3600 * 10**9, anchor="2026-11-01T00:30"),
            SchedulerFacts(accounted_ns=ns("2026-11-24T09:00"), oldest_ns=ns("2026-11-02T00:00")),
            "It may have counted from another time then.",
            id="an interval that was moved",
        ),
        pytest.param(
            job(),
            SchedulerFacts(accounted_ns=ns("2026-11-24T09:00"), oldest_ns=ns("2026-11-02T00:00")),
            "This is a bug: please report it.",
            id="a hole",
        ),
        pytest.param(
            job(removed="2026-11-24T01:00"),
            SchedulerFacts(),
            "it was found to be removed from the job file at 01:00:00.",
            id="removed",
        ),
        pytest.param(
            job(),
            SchedulerFacts(accounted_ns=ns("2026-11-24T09:00"), oldest_ns=ns("2026-11-24T08:00")),
            "of backup has been removed: the oldest record kept is from 08:00:00.",
            id="not kept",
        ),
        pytest.param(
            job(max_runs=2, run_count=2),
            SchedulerFacts(),
            "it has used up its runs (max_runs = 2).",
            id="used up",
        ),
    ],
)
def test_what_is_not_on_record_is_said_plainly(facts: Any, scheduler: SchedulerFacts, words: str) -> None:
    assert words in text(why(facts, SLOT, scheduler=scheduler))


def test_a_time_before_the_schedule_was_known_is_reported_as_not_on_record() -> None:
    found = text(why(job(since="2026-11-23T12:00"), "2026-11-23T09:15"))
    assert found.startswith(
        "There is no record of backup at Mon 2026-11-23 09:15: taskman has recorded the slots of "
        "its schedule since Mon 2026-11-23 12:00:00+01:00. The nearest slot is the one after it."
    )


def test_a_slot_of_this_instant_asks_to_query_again() -> None:
    scheduler = SchedulerFacts(started_ns=ns("2026-11-20T09:00"))
    assert "just now; nothing is on record yet: ask again." in text(
        why(job(), SLOT, scheduler=scheduler, now=f"{SLOT}:01")
    )


def test_a_slot_without_a_record_is_followed_by_the_latest_on_record() -> None:
    before = run("2026-11-23T02:30")
    scheduler = SchedulerFacts(accounted_ns=ns("2026-11-23T09:00"), stopped_ns=ns("2026-11-23T09:01"))
    found = why(job(), latest="2026-11-23T02:30", before=SlotRecord(before), scheduler=scheduler)
    ran = f"backup ran for its slot 02:30:00, as run {before.id}."
    assert f"The latest slot on record: {ran}" in text(found)
    nearest = as_document(found)["nearest"]
    assert (nearest["run"], nearest["outcome"]) == (before.id, "ran")


def test_a_future_slot_says_when_and_what_prevents_it() -> None:
    assert text(why(job(since="2026-11-24T09:00"))) == (
        "backup is due at its slot Wed 2026-11-25 02:30:00+01:00, in 16h30m. "
        "The next slot is Thu 2026-11-26 02:30:00, in 1d16h."
    )
    begun = text(why(job(jitter_ns=3600 * 10**9), SLOT, now=f"{SLOT}:01"))
    assert begun.startswith(f"backup has its slot at {WHOLE}, and its jitter delays the start by ")
    jitter = text(why(job(jitter_ns=3600 * 10**9), "2026-11-25T02:30"))
    assert "Its jitter delays the start by " in jitter


def test_no_run_of_a_disabled_job_is_announced() -> None:
    will_not = (
        "backup will not run at its slot Wed 2026-11-25 02:30:00+01:00, in 16h30m: the job is disabled "
        "(enabled = false)."
    )
    assert will_not == text(why(job(enabled=False), "2026-11-25T02:30"))
    assert will_not == text(why(job(enabled=False, since="2026-11-24T09:00")))
    record = SlotRecord(skip=skip(SLOT, "disabled", "enabled = false"))
    assert text(why(job(enabled=False), latest=SLOT, record=record)).endswith(
        "The job was disabled (enabled = false). It does not run now: the job is disabled (enabled = false)."
    )


@pytest.mark.parametrize(
    ("until", "following"),
    [
        (None, ""),
        ("2026-11-26T02:30", " The next slot is 02:30:00, in 1d16h."),
        ("2026-11-26T03:00", " The first slot after that is Fri 2026-11-27 02:30:00, in 2d16h."),
    ],
    ids=["until resume", "up to a slot", "over a slot"],
)
def test_no_run_in_a_pause_is_announced(until: str | None, following: str) -> None:
    pause = Pause(ns("2026-11-24T09:30"), None if until is None else ns(until), by="ann")
    paused = replace(job(since="2026-11-24T09:00"), pause=pause)
    told = text(why(paused))
    assert told.startswith(
        "backup will not run at its slot Wed 2026-11-25 02:30:00+01:00, in 16h30m: it is paused. "
        "It has been paused since Tue 2026-11-24 09:30:00"
    )
    assert told.endswith(f" by ann. Slots during a pause are skipped.{following}")


def test_with_jitter_the_slot_after_a_pause_is_the_first_that_is_due_after_it() -> None:
    pause = Pause(ns("2026-11-24T09:30"), ns("2026-11-26T02:31"), by="ann")
    paused = replace(job(since="2026-11-24T09:00", jitter_ns=3600 * 10**9), pause=pause)
    assert text(why(paused)).endswith("The next slot is 02:30:00, in 1d16h.")
    longer = replace(paused, pause=replace(pause, until_ns=ns("2026-11-26T03:30")))
    assert text(why(longer)).endswith("The first slot after that is Fri 2026-11-27 02:30:00, in 2d16h.")


def test_the_text_ends_with_whether_there_are_more_slots() -> None:
    done = SlotRecord(run(SLOT))
    assert text(why(job(), latest=SLOT, record=done)).endswith(
        "The next slot is Wed 2026-11-25 02:30:00, in 16h30m."
    )
    assert text(why(job(max_runs=1, run_count=1), latest=SLOT, record=done)).endswith(
        "It has no other slots to come. It has used up its runs (max_runs = 1)."
    )
    assert text(why(job(removed="2026-11-24T09:00"), latest=SLOT, record=done)).endswith(
        "It has no other slots to come. It was found to be removed from the job file at 09:00:00."
    )
    assert text(why(job(expires_at_ns=ns("2026-11-24T03:00")), latest=SLOT, record=done)).endswith(
        "It has no other slots to come. It has expired (expires_at, 03:00:00)."
    )
    assert text(why(job(max_runs=1, run_count=1))).endswith(
        "and it has no slots to come. It has used up its runs (max_runs = 1)."
    )
    assert text(why(job(expires_at_ns=ns("2026-10-01T00:00")))).endswith(
        "and it has no slots to come. It has expired (expires_at, Thu 2026-10-01 00:00:00+02:00)."
    )
    assert text(why(job(at_ns=ns("2026-10-01T00:00")))).endswith(
        "and it has no slots to come. Its one slot, Thu 2026-10-01 00:00:00+02:00, had passed by then."
    )
    assert text(why(job(reboot=True))).endswith(
        "@reboot runs it when taskman first starts after a boot of the machine."
    )
    single = job(at_ns=ns(SLOT))
    assert text(why(single, latest=SLOT, record=done)).endswith("It has no other slots to come.")
    assert text(why(job(removed="2026-11-01T00:00"))).endswith(
        "and it has no slots to come. It was found to be removed from the job file at 00:00:00."
    )
    from_finish = job(every_ns=3600 * 10**9, from_finish=True, finish="2026-11-24T01:30")
    assert text(why(from_finish, latest=SLOT, record=done)).endswith("at 02:30:01.")


# --- as JSON ---


def test_the_document_has_the_same_facts_as_fields() -> None:
    late = run(SLOT, due=f"{SLOT}:10", queued=f"{SLOT}:11", begun=f"{SLOT}:15", spawn_ns=300_000_000)
    found = as_document(why(job(), SLOT, record=SlotRecord(late)))
    assert found["job"] == "backup"
    assert found["outcome"] == "ran"
    assert found["slot"] == found["asked_at"] == "2026-11-24T02:30:00+01:00"
    assert found["run"] == late.id
    assert found["trigger"] == "slot"
    assert found["lateness"] == {
        "total_s": 15.3, "jitter_s": 10.0, "clock_s": 1.0, "wait_s": 4.0, "spawn_s": 0.3
    }  # fmt: skip
    assert found["evidence"]["run"]["attempts"][0]["exit_code"] == 0
    assert (found["previous_slot"], found["next_slot"]) == (
        "2026-11-23T02:30:00+01:00", "2026-11-25T02:30:00+01:00",
    )  # fmt: skip
    assert found["nearest"] is None
    assert found["fields"] == []


def test_the_document_of_a_time_that_is_not_a_slot_has_the_fields_and_the_nearest_slot() -> None:
    found = as_document(why(job(), "2026-11-24T14:15", record=SlotRecord(run(SLOT))))
    assert (found["outcome"], found["slot"], found["run"]) == ("not_due", None, None)
    assert found["fields"][:2] == [
        {"name": "minute", "value": 15, "expression": "30", "matches": False},
        {"name": "hour", "value": 14, "expression": "2", "matches": False},
    ]
    assert [field["matches"] for field in found["fields"][2:]] == [True, True, True]
    assert (found["nearest"]["slot"], found["nearest"]["outcome"]) == ("2026-11-24T02:30:00+01:00", "ran")


def test_the_document_of_a_skip_has_the_reason_and_the_evidence() -> None:
    blocker = run("2026-11-24T01:30", state="running")
    skipped = skip(SLOT, "overlap", "run is not over", to="2026-11-25T02:30", count=2, blocker=blocker)
    found = as_document(why(job(), SLOT, record=SlotRecord(skip=skipped)))
    assert (found["outcome"], found["reason"], found["detail"]) == ("skipped", "overlap", "run is not over")
    assert found["evidence"]["blocker"]["run"] == blocker.id
    assert found["evidence"]["stretch"] == {
        "first": "2026-11-24T02:30:00+01:00", "last": "2026-11-25T02:30:00+01:00", "count": 2
    }  # fmt: skip
    missed = skip(SLOT, "missed", at="2026-11-24T05:00")
    events = (event("2026-11-24T05:00", "suspended", length_ns=3 * 3600 * 10**9),)
    found = as_document(why(job(), SLOT, record=SlotRecord(skip=missed, events=events)))
    assert found["evidence"]["absence"] == {
        "cause": "suspended", "from": "2026-11-24T02:00:00+01:00", "to": "2026-11-24T05:00:00+01:00",
        "length_s": 10800.0, "detail": None,
    }  # fmt: skip


def test_every_document_has_the_same_keys() -> None:
    answers = [
        why(job(), latest=SLOT, record=SlotRecord(run(SLOT))),
        why(job(), "2026-11-24T14:15"),
        why(job(), SLOT),
        why(job(), "2026-11-25T02:30"),
        why(job(since="2026-03-01T00:00"), "2026-03-29T02:30"),
        why(job(max_runs=1, run_count=1)),
        why(job(starts_at_ns=ns("2026-11-25T00:00")), SLOT),
    ]
    documents = [as_document(found) for found in answers]
    assert [list(found) for found in documents] == [list(documents[0])] * len(documents)
    assert documents[4]["clock_change"]["from"] == "2026-03-29T02:00:00"
    assert documents[4]["asked_at"] is None
    assert documents[6]["limits"] == {"starts_at": "2026-11-25T00:00:00+01:00"}


# --- words for lengths ---


@pytest.mark.parametrize(
    ("length_s", "words"),
    [
        (0, "0ms"),
        (0.0804, "80ms"),
        (2.49, "2.4s"),
        (59.99, "59.9s"),
        (60, "1m"),
        (3599, "59m59s"),
        (3661, "1h1m"),
        (86_400, "1d"),
        (7 * 86_400, "7d"),
        (90_061, "1d1h"),
        (101 * 86_400 + 4000, "101d"),
        (-5, "5s"),
    ],
)
def test_a_length_has_two_or_three_figures(length_s: float, words: str) -> None:
    assert span(round(length_s * 10**9)) == words


def test_how_long_ago_and_how_long_until() -> None:
    # A record may be a moment younger than the question.
    assert [ago(0, now) for now in (0, 999_999_999, 5 * 10**9, -5 * 10**9)] == [
        "just now", "just now", "5s ago", "just now",
    ]  # fmt: skip
    assert ahead(5 * 10**9, 0) == "in 5s"


def test_the_duration_of_a_run_with_one_process_is_that_of_the_process() -> None:
    good = run(SLOT, attempts=(attempt("main", 1, "succeeded", duration_ns=2_600_000),))
    assert "after 2ms, at 02:30:01" in told(SlotRecord(good))
