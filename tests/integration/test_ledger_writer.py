"""What each record and mark does to the rows, and that the limits of batches are no matter."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from integration.ledger_tables import SUPERVISOR, Written, dump, second, wall
from unit.engine_driver import START

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.events import JobStanding
from taskman_cli.core.engine.runs import decode_run_id, encode_run_id, run_number
from taskman_cli.core.model import Exit, SkipReason, State, Trigger
from taskman_cli.core.sinks import ReportKind
from taskman_cli.ledger.standing import (
    OpenAttemptRow,
    OpenRunRow,
    SchedulerStanding,
    read_decided,
    read_jobs,
    read_needs,
    read_open_runs,
    read_rates,
    read_scheduler,
)
from taskman_cli.ledger.store import LedgerUnwritable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = encode_run_id(run_number(START.wall_ns, last=0))
NEXT = encode_run_id(run_number(START.wall_ns, last=0) + 1)
NUMBER = decode_run_id(RUN)
SLOT = wall(-1)

QUEUED = effects.RunQueued(RUN, "job", SLOT, Trigger.SLOT, SLOT)
BEGUN = effects.AttemptBegun(RUN, "job", "main", 1, SLOT)
SPAWNED = effects.AttemptSpawned(RUN, "job", "main", 1, 4711, Now(wall(1), 5))
END = Exit(
    exit_code=3, cpu_s=0.25, peak_rss_bytes=1 << 20, output_bytes=7, cut_bytes=2, output_error="no room"
)
ENDED = effects.AttemptFinished(RUN, "job", "main", 1, State.FAILED, "exit 3", END, wall(3), 2_000_000_000)
FINISHED = effects.RunFinished(RUN, "job", State.FAILED, SLOT)
ARMED = effects.JobArmed("job", '{"every_ns": 10000000000}', wall(0), wall(-5))


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path)
    yield written
    written.close()


def write(written: Written, *records: effects.Record | effects.Mark, is_batch: bool, at: float = 0) -> None:
    """Write records in one batch, or each in one of its own."""
    for batch in [records] if is_batch else [(record,) for record in records]:
        written.write(*batch, at=at)


# --- runs and attempts ---


def test_a_run_is_queued_begins_and_ends(written: Written) -> None:
    columns = ("state", "queued_ns", "begun_ns", "ended_ns", "detail")
    written.write(ARMED, QUEUED, at=1)
    assert written.rows("runs", "id", "slot_ns", "trigger", "due_ns", "is_cancelled") == [
        (NUMBER, SLOT, "slot", SLOT, 0)
    ]
    assert written.rows("job_state", "id", where="name = 'job'") == written.rows("runs", "job")
    assert written.rows("runs", *columns) == [("queued", wall(1), None, None, None)]
    written.write(BEGUN, at=2)
    assert written.rows("runs", *columns) == [("running", wall(1), wall(2), None, None)]
    written.write(ENDED, effects.RunFinished(RUN, "job", State.FAILED, SLOT, detail="why"), at=4)
    assert written.rows("runs", *columns) == [("failed", wall(1), wall(2), wall(4), "why")]


def test_what_an_attempt_holds_is_read_back(written: Written) -> None:
    held = (("db", 2), ("ram", 1 << 33))
    written.write(ARMED, QUEUED, replace(BEGUN, holds=held), at=1)
    ((attempt,),) = [run.attempts for run in read_open_runs(written.connection)]
    assert attempt.holds == held


def test_what_was_to_be_held_by_an_attempt_that_did_not_start_is_forgotten(written: Written) -> None:
    withdrawn = effects.AttemptWithdrawn(RUN, "job", "main", 1)
    written.write(ARMED, QUEUED, replace(BEGUN, holds=(("db", 2),)), withdrawn, BEGUN, at=1)
    ((attempt,),) = [run.attempts for run in read_open_runs(written.connection)]
    assert attempt.holds == ()


@pytest.mark.parametrize("is_batch", [True, False])
def test_what_was_told_of_a_run_that_waits_again_is_read_back(written: Written, *, is_batch: bool) -> None:
    withdrawn = effects.AttemptWithdrawn(RUN, "job", "main", 1)
    told = effects.RunTold(RUN, ReportKind.STARTED)
    write(written, ARMED, QUEUED, BEGUN, withdrawn, told, is_batch=is_batch)
    [run] = read_open_runs(written.connection)
    assert (run.attempts, run.is_told, run.is_slow) == ((), True, False)
    written.write(effects.RunTold(RUN, ReportKind.SLOW))
    [run] = read_open_runs(written.connection)
    assert (run.is_told, run.is_slow) == (True, True)


def test_when_a_rate_has_recovered_is_read_back_on_both_clocks(written: Written) -> None:
    for elapsed_ns in (7, 9):
        written.write(effects.RateUsed("api", elapsed_ns), at=1)
    now = second(1)
    assert read_rates(written.connection) == {"api": Now(now.wall_ns - now.elapsed_ns + 9, 9)}


def test_what_tasks_need_is_read_back_until_their_job_is_gone(written: Written) -> None:
    for need in (7, 9):
        written.write(ARMED, effects.NeedLearned("job", "main", need), at=1)
    assert read_needs(written.connection) == {("job", "main"): 9}
    written.write(effects.JobRemoved("job"), at=2)
    assert read_needs(written.connection) == {}


def test_a_change_of_the_target_is_a_line_of_the_journal(written: Written) -> None:
    written.write(effects.TargetChanged(2, 9, "more was due"), at=1)
    assert written.rows("events", "kind", "detail", "data") == [
        ("target_changed", "more was due", '{"before": 2, "target": 9}')
    ]


def test_an_attempt_begins_has_a_process_and_ends(written: Written) -> None:
    written.write(QUEUED, BEGUN, at=1)
    assert written.rows("attempts") == [(NUMBER, "main", 1, "running", SUPERVISOR, wall(1), *[None] * 22)]
    written.write(SPAWNED, at=2)
    spawned = (4711, wall(1), 5)
    assert written.rows("attempts", "pid", "started_ns", "started_elapsed_ns") == [spawned]
    written.write(ENDED, at=4)
    usage = (3, None, 0.25, 1 << 20, 7, 2)
    expected = (
        NUMBER, "main", 1, "failed", SUPERVISOR, wall(1), *spawned, wall(3), 2_000_000_000, *usage, "exit 3",
        None, "no room", *[None] * 8,
    )  # fmt: skip
    assert written.rows("attempts") == [expected]


TOLD = Now(wall(2), 6)
TOLD_TO_END = effects.AttemptEnding(RUN, "job", "main", 1, State.TIMED_OUT, TOLD)


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_that_an_attempt_was_told_to_end_is_read_back(written: Written, is_one_batch: bool) -> None:
    if is_one_batch:
        written.write(QUEUED, BEGUN, SPAWNED, TOLD_TO_END)
    else:
        written.write(QUEUED, BEGUN, SPAWNED)
        written.write(TOLD_TO_END)
    [run] = read_open_runs(written.connection)
    assert [(row.ending, row.told) for row in run.attempts] == [(State.TIMED_OUT, TOLD)]


STOPPED = effects.AttemptStopped(RUN, "job", "main", 1, TOLD)
CONTINUED = effects.AttemptContinued(RUN, "job", "main", 1, 7)


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_that_an_attempt_is_stopped_and_how_long_it_was_is_read_back(
    written: Written, *, is_one_batch: bool
) -> None:
    told = []
    for records in ([STOPPED], [STOPPED, CONTINUED], [STOPPED, CONTINUED, STOPPED]):
        written.connection.execute("DELETE FROM attempts")
        written.connection.execute("DELETE FROM runs")
        if is_one_batch:
            written.write(QUEUED, BEGUN, *records)
        else:
            written.write(QUEUED, BEGUN)
            written.write(*records)
        [run] = read_open_runs(written.connection)
        told += [(row.stopped, row.stopped_ns) for row in run.attempts]
    assert told == [(TOLD, 0), (None, 7), (TOLD, 7)]


def test_a_process_that_became_no_command_is_not_that_of_the_next_start(written: Written) -> None:
    written.write(QUEUED, BEGUN)
    written.write(SPAWNED, effects.AttemptWithdrawn(RUN, "job", "main", 1), BEGUN)
    [run] = read_open_runs(written.connection)
    assert [row.pid for row in run.attempts] == [None]


def test_an_attempt_without_a_process_has_no_usage(written: Written) -> None:
    failed = effects.AttemptFinished(
        RUN, "job", "main", 1, State.FAILED, "not found: foo", None, wall(1), None, 3_000_000_000
    )
    written.write(QUEUED, BEGUN, failed, at=1)
    columns = ("state", "pid", "duration_ns", "exit_code", "output_bytes", "detail", "next_ns")
    assert written.rows("attempts", *columns) == [
        ("failed", None, None, None, None, "not found: foo", wall(4))
    ]
    assert written.rows("runs", "state") == ["running"], "another attempt follows"


def test_a_path_that_is_no_text_does_not_keep_a_lost_output_off_the_record(written: Written) -> None:
    lost = replace(ENDED, exit=replace(END, output_error="No space left on device: /a\udcff"))
    for records in ([QUEUED, BEGUN, lost], [lost]):
        written.write(*records)
        assert written.rows("attempts", "output_error") == ["No space left on device: /a\udcff"]


def test_what_a_run_came_to_is_kept_with_all_its_bytes(written: Written) -> None:
    detail = "not found: /caf\udce9/é"
    ended = replace(ENDED, detail=detail)
    finished = effects.RunFinished(RUN, "job", State.FAILED, SLOT, detail=detail)
    for records in ([QUEUED, BEGUN, ended, finished], [ended, finished]):
        written.write(*records)
        assert written.rows("attempts", "detail") == [detail]
        assert written.rows("runs", "detail") == [detail]
    assert [detail] * 4 == written.rows("events", "detail", where="detail IS NOT NULL")


def test_a_reason_of_a_skip_is_kept_with_all_its_bytes(written: Written) -> None:
    skipped = effects.SlotsSkipped("job", SLOT, SLOT, 1, SkipReason.OVERLAP, "caf\udce9")
    written.write(skipped)
    assert written.rows("skips", "detail") == ["caf\udce9"]


@pytest.mark.parametrize("detail", ["\ud800", "é\ud800\udce9"])
def test_text_that_stands_for_no_bytes_does_not_keep_an_end_off_the_record(
    detail: str, written: Written
) -> None:
    written.write(QUEUED, BEGUN, replace(ENDED, detail=detail))
    assert written.rows("attempts", "detail") == [detail.translate({0xD800: "?", 0xDCE9: "?"})]


def test_success_has_no_detail_and_a_signal_no_exit_code(written: Written) -> None:
    good = effects.AttemptFinished(RUN, "job", "main", 1, State.SUCCEEDED, "", Exit(exit_code=0), wall(1), 1)
    bad = effects.AttemptFinished(RUN, "job", "b", 1, State.FAILED, "killed", Exit(signal=9), wall(1), 1)
    written.write(QUEUED, BEGUN, effects.AttemptBegun(RUN, "job", "b", 1, SLOT), good, bad)
    assert written.rows("attempts", "exit_code", "signal", "detail") == [(None, 9, "killed"), (0, None, None)]


@pytest.mark.parametrize("is_batch", [True, False], ids=["one batch", "batch by batch"])
def test_an_attempt_that_is_withdrawn_leaves_the_run_queued(written: Written, is_batch: bool) -> None:
    withdrawn = effects.AttemptWithdrawn(RUN, "job", "main", 1)
    write(written, QUEUED, BEGUN, withdrawn, is_batch=is_batch)
    assert written.rows("runs", "state", "begun_ns") == [("queued", None)]
    assert written.rows("attempts") == []
    written.write(BEGUN, at=5)
    assert written.rows("runs", "state", "begun_ns") == [("running", wall(5))]
    assert written.rows("events", "kind") == ["queued", "begun", "withdrawn", "begun"]


OTHER = effects.AttemptBegun(RUN, "job", "other", 1, SLOT)
WITHDRAWN = effects.AttemptWithdrawn(RUN, "job", "main", 1)


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([[QUEUED], [BEGUN, OTHER], [WITHDRAWN]], id="alone"),
        pytest.param([[QUEUED], [BEGUN, OTHER, WITHDRAWN]], id="with the beginnings"),
        pytest.param([[QUEUED, BEGUN, OTHER, WITHDRAWN]], id="with all"),
        pytest.param([[QUEUED, BEGUN], [OTHER, WITHDRAWN]], id="with the other's beginning"),
        pytest.param([[QUEUED, BEGUN], [WITHDRAWN, OTHER]], id="before the other's beginning"),
    ],
)
def test_an_attempt_that_is_withdrawn_leaves_a_run_going_where_another_is_there(
    written: Written, batches: list[list[effects.Record]]
) -> None:
    for batch in batches:
        written.write(*batch, at=3)
    assert written.rows("runs", "state", "begun_ns") == [("running", wall(3))]
    assert written.rows("attempts", "task") == ["other"]


@pytest.mark.parametrize("is_batch", [True, False], ids=["one batch", "batch by batch"])
def test_a_run_that_is_being_cancelled_is_marked(written: Written, is_batch: bool) -> None:
    cancelling = effects.RunCancelling(RUN, "job")
    write(written, QUEUED, cancelling, is_batch=is_batch)
    assert written.rows("runs", "state", "is_cancelled") == [("queued", 1)]
    assert written.rows("events", "kind") == ["queued", "cancelling"]


@pytest.mark.parametrize("is_batch", [True, False], ids=["one batch", "batch by batch"])
def test_a_run_that_is_given_up_is_skipped_and_points_at_its_slot(written: Written, is_batch: bool) -> None:
    late = effects.SlotsSkipped("job", SLOT, SLOT, 1, SkipReason.LATE, "reached 2h late", RUN)
    write(written, QUEUED, late, is_batch=is_batch, at=6)
    assert written.rows("runs", "state", "begun_ns", "ended_ns", "detail") == [
        ("skipped", None, wall(6), "reached 2h late")
    ]
    assert written.rows("skips", "run", "slot_ns", "slot_to_ns", "count", "reason") == [
        (NUMBER, SLOT, SLOT, 1, "late")
    ]


# --- skips ---


def skip(
    first: float,
    last: float | None = None,
    count: int | None = 1,
    *,
    detail: str = "run 0 is not over",
    job: str = "job",
    run: str | None = None,
    blocker: str | None = None,
) -> effects.SlotsSkipped:
    last = first if last is None else last
    return effects.SlotsSkipped(job, wall(first), wall(last), count, SkipReason.OVERLAP, detail, run, blocker)


def spans(written: Written) -> list[tuple[float, float, int | None]]:
    """Return the skips: first slot, last slot, count."""
    rows = written.rows("skips", "slot_ns", "slot_to_ns", "count")
    return [((first - wall(0)) / 1e9, (last - wall(0)) / 1e9, count) for first, last, count in rows]


@pytest.mark.parametrize("is_batch", [True, False], ids=["one batch", "batch by batch"])
def test_equal_skips_in_a_row_are_one_row(written: Written, is_batch: bool) -> None:
    skips = [skip(1), skip(2), skip(1, job="other"), skip(3, 5, 3), skip(6)]
    for number, batch in enumerate([skips] if is_batch else [[one] for one in skips]):
        written.write(*batch, at=10 + number)
    assert spans(written) == [(1, 6, 6), (1, 1, 1)]
    assert written.rows("skips", "at_ns", "at_to_ns", where="id = 1") == [
        (wall(10), wall(10 if is_batch else 14))
    ]
    assert [(at - wall(0)) / 1e9 for at in written.rows("events", "slot_ns")] == [1, 2, 1, 3, 6]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(skip(2, detail="another reason"), id="detail"),
        pytest.param(skip(2, blocker=RUN), id="blocker"),
        pytest.param(skip(2, 9, None), id="uncounted"),
        pytest.param(effects.SlotsSkipped("job", wall(2), wall(2), 1, SkipReason.LATE, "x"), id="reason"),
        pytest.param(skip(0.5), id="before it: the clock was put back"),
        pytest.param(skip(1), id="the same slot again"),
    ],
)
def test_a_skip_that_differs_has_a_row_of_its_own(written: Written, other: effects.SlotsSkipped) -> None:
    written.write(skip(1), other)
    assert len(spans(written)) == 2


def test_what_cannot_be_counted_is_not_joined_to_what_follows(written: Written) -> None:
    written.write(skip(1, 9, None), skip(10), skip(11))
    assert spans(written) == [(1, 9, None), (10, 11, 2)]


def test_a_run_for_a_slot_parts_skips_and_one_for_no_slot_does_not(written: Written) -> None:
    written.write(skip(1), effects.RunQueued(NEXT, "job", None, Trigger.START, wall(1)), skip(2))
    assert spans(written) == [(1, 2, 2)]
    written.write(QUEUED, skip(3))
    assert spans(written) == [(1, 2, 2), (3, 3, 1)]
    written.write(skip(4, run=RUN), skip(5))
    assert spans(written) == [(1, 2, 2), (3, 3, 1), (4, 4, 1), (5, 5, 1)]


def test_the_blocker_and_a_stretch_are_on_record(written: Written) -> None:
    written.write(skip(1, 4, 4, blocker=RUN), skip(9))
    assert written.rows("skips", "blocker") == [NUMBER, None]
    assert [{"slot_to_ns": wall(4), "count": 4, "blocker": RUN}, None] == [
        json.loads(data) if data else None for data in written.rows("events", "data")
    ]


def test_a_skip_whose_row_was_removed_meanwhile_is_not_lost(written: Written) -> None:
    written.write(skip(1), skip(2))
    written.connection.execute("DELETE FROM skips")
    written.write(skip(3), skip(4))
    assert spans(written) == [(3, 4, 2)]


def test_the_next_scheduler_begins_a_row_of_its_own(written: Written, tmp_path: Path) -> None:
    written.write(skip(1))
    written.close()
    again = Written(tmp_path)
    again.write(skip(2))
    assert spans(again) == [(1, 1, 1), (2, 2, 1)]
    again.close()


# --- the whole ---


def test_jobs_are_armed_changed_removed_and_come_back(written: Written) -> None:
    columns = ("name", "definition", "since_ns", "anchor_ns", "run_count", "finish_ns", "removed_ns")
    written.write(ARMED, effects.RunsCounted("job", 3), effects.IntervalEnded("job", wall(7)))
    row = ("job", ARMED.definition, wall(0), wall(-5), 3, wall(7), None)
    assert written.rows("job_state", *columns) == [row]
    written.write(effects.JobRemoved("job"), at=9)
    assert written.rows("job_state", *columns) == [(*row[:-1], wall(9))]
    assert read_jobs(written.connection) == {}
    written.write(effects.JobArmed("job", "{}", wall(20), wall(20)), at=20)
    assert written.rows("job_state", *columns) == [("job", "{}", wall(20), wall(20), 3, None, None)]


def test_what_a_job_was_armed_with_is_kept_when_it_is_armed_anew(written: Written) -> None:
    columns = ("definition", "since_ns", "until_ns", "anchor_ns")
    written.write(ARMED)
    written.write(effects.JobRezoned("job", "{ }"), ARMED)
    assert written.rows("definitions", *columns) == []
    written.write(effects.IntervalEnded("job", wall(7)))
    written.write(effects.JobArmed("job", '{"cron": 1}', wall(9), wall(9)), at=9)
    kept = (ARMED.definition, wall(0), wall(9), wall(7))
    assert written.rows("definitions", *columns) == [kept]
    # With another anchor the slots are others too.
    written.write(effects.JobArmed("job", '{"cron": 1}', wall(11), wall(10)), at=11)
    written.write(effects.JobRemoved("job"), at=13)
    written.write(effects.JobArmed("job", '{"cron": 1}', wall(20), wall(10)), at=20)
    assert written.rows("definitions", "since_ns", "until_ns")[1:] == [
        (wall(9), wall(11)),
        (wall(11), wall(13)),
    ]


def test_of_the_definitions_of_a_job_the_latest_hundred_are_kept(written: Written) -> None:
    for at in range(150):
        written.write(effects.JobArmed("job", f'{{"cron": {at}}}', wall(at), wall(at)))
        written.write(effects.JobArmed("other", f'{{"cron": {at % 2}}}', wall(at), wall(0)))
    of_job = written.connection.execute(
        "SELECT count(*), max(since_ns) FROM definitions"
        " WHERE job = (SELECT id FROM job_state WHERE name = 'job')"
    ).fetchone()
    assert of_job == (100, wall(148))
    assert len(written.rows("definitions", "id")) == 200


def test_a_job_that_is_shown_in_another_zone_stands_as_it_did(written: Written) -> None:
    written.write(ARMED, effects.RunsCounted("job", 3), effects.IntervalEnded("job", wall(7)))
    written.write(effects.JobRezoned("job", '{"every_ns": 1, "timezone": "Asia/Tokyo"}'))
    assert written.rows("job_state", "definition", "since_ns", "anchor_ns", "run_count", "finish_ns") == [
        ('{"every_ns": 1, "timezone": "Asia/Tokyo"}', wall(0), wall(-5), 3, wall(7))
    ]


def test_a_run_of_a_job_that_nobody_defines_is_recorded_all_the_same(written: Written) -> None:
    written.write(effects.RunQueued(RUN, "gone", SLOT, Trigger.SLOT, SLOT), at=2)
    assert written.rows("job_state", "name", "removed_ns") == [("gone", wall(2))]
    assert [run.job for run in read_open_runs(written.connection)] == ["gone"]


def test_a_step_of_the_clock_moves_what_intervals_count_from_and_nothing_else(written: Written) -> None:
    every, finish = '{"every_ns": 5}', '{"every_ns": 5, "from_finish": true}'
    from_start, cron = '{"every_ns": 5, "starts_at_ns": 1}', '{"cron": "* * * * *", "timezone": "UTC"}'
    definitions = {"every": every, "finish": finish, "from_start": from_start, "cron": cron}
    written.write(
        *(effects.JobArmed(name, text, wall(100), wall(100)) for name, text in definitions.items()),
        effects.IntervalEnded("finish", wall(150)),
    )
    written.write(effects.ClockStepNoted(-3600 * 10**9), at=-3500)
    moved, back = wall(100 - 3600), wall(-3500)
    assert written.rows("job_state", "name", "anchor_ns", "finish_ns", "since_ns") == [
        ("every", moved, None, back),
        ("finish", moved, wall(150 - 3600), back),
        ("from_start", wall(100), None, back),
        ("cron", wall(100), None, back),
    ]
    now = second(-3500)
    assert written.rows("standing", "offset_ns") == [now.wall_ns - now.elapsed_ns]
    assert written.rows("events", "kind", "data") == [("clock_stepped", '{"delta_ns": -3600000000000}')]


def test_a_step_of_the_clock_is_kept_with_the_runs_that_wait(written: Written) -> None:
    first, second_run, third = (replace(QUEUED, run=encode_run_id(number)) for number in (1, 2, 3))
    written.write(first, second_run, effects.AttemptBegun(second_run.run, "job", "main", 1, SLOT))
    written.write(effects.ClockStepNoted(7), third, effects.ClockStepNoted(-2))
    assert written.rows("runs", "id", "moved_ns") == [(1, 5), (2, None), (3, -2)]
    assert [run.moved_ns for run in read_open_runs(written.connection)] == [5, 0, -2]


def test_the_marks_of_the_whole(written: Written) -> None:
    written.write(effects.Accounted(wall(4)), at=5)
    offset_ns = START.wall_ns - START.elapsed_ns
    columns = ("accounted_ns", "boot", "supervisor", "offset_ns", "last_run")
    assert written.rows("standing", *columns) == [(wall(4), None, None, offset_ns, 0)]
    written.write(effects.LifeBegun("boot", 12), effects.RunsNumbered(99))
    assert written.rows("standing", *columns) == [(wall(4), "boot", 12, offset_ns, 99)]


def test_what_is_decided_of_some_jobs_counts_until_it_is_of_all(written: Written) -> None:
    written.write(effects.Accounted(wall(4)), effects.SlotsDecided(("job", "other"), wall(6)))
    written.write(effects.SlotsDecided(("other",), wall(7)))
    assert read_decided(written.connection) == {"job": wall(6), "other": wall(7)}
    written.write(effects.Accounted(wall(6)))
    assert read_decided(written.connection) == {"other": wall(7)}
    written.write(effects.Accounted(wall(5), is_anew=True))  # the clock was put back by hours
    assert read_decided(written.connection) == {}


def test_an_interval_moves_with_the_clock_from_where_its_own_slots_are_decided(written: Written) -> None:
    every = '{"every_ns": 1000000000}'
    written.write(effects.JobArmed("job", every, wall(0), wall(0)), effects.Accounted(wall(4)))
    written.write(effects.JobArmed("other", every, wall(0), wall(0)), effects.SlotsDecided(("job",), wall(6)))
    written.write(effects.ClockStepNoted(10**9), at=20)
    assert written.rows("job_state", "name", "since_ns") == [("job", wall(7)), ("other", wall(5))]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (effects.SpawnDelayed("no room", 5), ("spawn_delayed", "no room", '{"pause_ns": 5}')),
        (
            effects.SpawnDelayed("no room", 5, "joe", "r"),
            ("spawn_delayed", "no room", '{"pause_ns": 5, "user": "joe", "run": "r"}'),
        ),
        (effects.SuspendNoted(7), ("suspended", None, '{"length_ns": 7}')),
        (effects.SchedulerNoted("scheduler_started", "again"), ("scheduler_started", "again", None)),
        (effects.SchedulerNoted("scheduler_stopped"), ("scheduler_stopped", None, None)),
        (
            effects.JobsTaken(2, ("a",), ("b",), ()),
            ("jobs_loaded", None, '{"jobs": 2, "added": ["a"], "changed": ["b"], "removed": []}'),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_concerns_the_program_is_a_line_of_the_journal(
    written: Written, record: effects.Record, expected: tuple[str | None, ...]
) -> None:
    written.write(record, at=3)
    assert written.rows("events", "kind", "detail", "data") == [expected]
    assert written.rows("events", "at_ns", "job", "run") == [(wall(3), None, None)]


def test_the_journal_tells_a_run_in_order(written: Written) -> None:
    adopted = effects.AttemptAdopted(RUN, "job", "main", 1, 4711)
    finished = effects.RunFinished(RUN, "job", State.FAILED, SLOT, ("b", "c"), "because")
    stuck = effects.AttemptStuck(RUN, "job", "main", 1, 4711)
    left = effects.SurvivorsFound(RUN, "job", "main", 1, 15, 1, ((7, "a\udce9"),))
    told = json.dumps({"signal": 15, "count": 1, "processes": [{"pid": 7, "name": "a\udce9"}]})
    written.write(QUEUED, BEGUN, SPAWNED, adopted, stuck, left, ENDED, finished)
    columns = ("kind", "job", "run", "task", "attempt", "slot_ns", "state", "detail", "data")
    assert written.rows("events", *columns) == [
        ("queued", "job", NUMBER, None, None, SLOT, "slot", None, None),
        ("begun", "job", NUMBER, "main", 1, SLOT, None, None, None),
        ("adopted", "job", NUMBER, "main", 1, None, None, None, '{"pid": 4711}'),
        ("stuck", "job", NUMBER, "main", 1, None, None, None, '{"pid": 4711}'),
        ("survivors", "job", NUMBER, "main", 1, None, None, None, told),
        ("ended", "job", NUMBER, "main", 1, None, "failed", "exit 3", None),
        ("finished", "job", NUMBER, None, None, SLOT, "failed", "because", '{"undone": ["b", "c"]}'),
    ]


# --- batches ---


def test_a_whole_life_in_one_batch_leaves_the_rows_of_one_in_many(tmp_path: Path) -> None:
    tables = []
    for is_batch in (True, False):
        (tmp_path / str(is_batch)).mkdir()
        written = Written(tmp_path / str(is_batch))
        write(written, ARMED, QUEUED, BEGUN, SPAWNED, ENDED, FINISHED, is_batch=is_batch)
        tables.append(dump(written.connection, without=["standing.identity"]))
        written.close()
    assert tables[0] == tables[1]


def test_a_batch_that_fails_writes_nothing_and_the_next_one_works(written: Written) -> None:
    written.write(ARMED, skip(1))
    before = dump(written.connection)
    pages = written.connection.execute("PRAGMA page_count").fetchone()[0]
    written.connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [effects.SpawnDelayed("no room" * 1000, 1)] * 100
    new_job = effects.RunQueued(NEXT, "new job", None, Trigger.START, wall(0))
    with pytest.raises(LedgerUnwritable, match="full"):
        written.write(QUEUED, new_job, skip(2), *many)
    assert before == dump(written.connection)
    assert not written.connection.in_transaction
    written.connection.execute("PRAGMA max_page_count = 1000000")
    written.write(QUEUED, new_job, skip(2), *many)
    assert written.rows("runs", "id") == [NUMBER, NUMBER + 1]
    assert written.rows("job_state", "name") == ["job", "new job"]
    assert spans(written)[-1] == (2, 2, 1)


def test_a_mistake_of_ours_writes_nothing_either(written: Written) -> None:
    written.write(QUEUED)
    with pytest.raises(sqlite3.IntegrityError):
        written.write(skip(1), QUEUED)
    with pytest.raises(KeyError):
        written.write(skip(1), "no record")  # type: ignore[arg-type]
    assert spans(written) == []
    written.write(BEGUN)
    assert written.rows("runs", "state") == ["running"]


def test_a_writer_that_holds_the_lock_for_too_long_is_said_so(written: Written) -> None:
    written.connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(written.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnwritable, match="locked"):
        written.write(QUEUED)
    other.execute("ROLLBACK")
    other.close()
    written.write(QUEUED)
    assert written.rows("runs", "state") == ["queued"]


# --- read back ---


def test_what_was_written_of_the_whole_and_the_jobs_is_read_back(written: Written) -> None:
    [identity] = written.rows("standing", "identity")
    nothing = SchedulerStanding(None, None, None, None, 0, identity)
    assert nothing == read_scheduler(written.connection)
    written.write(ARMED, effects.JobArmed("plain", "{}", wall(1), wall(2)), effects.JobRemoved("plain"))
    written.write(
        effects.RunsCounted("job", 3), effects.IntervalEnded("job", wall(7)), effects.Accounted(wall(8)),
        effects.LifeBegun("boot", 12), effects.RunsNumbered(5),
    )  # fmt: skip
    offset_ns = START.wall_ns - START.elapsed_ns
    found = SchedulerStanding(wall(8), "boot", 12, offset_ns, 5, identity)
    assert found == read_scheduler(written.connection)
    assert read_jobs(written.connection) == {
        "job": JobStanding(ARMED.definition, wall(0), wall(-5), 3, wall(7))
    }
    written.write(QUEUED)
    assert read_scheduler(written.connection).last_run == NUMBER


def test_runs_that_are_not_over_are_read_back_with_all_their_attempts(written: Written) -> None:
    second_try = effects.AttemptBegun(RUN, "job", "main", 2, SLOT)
    first_end = effects.AttemptFinished(
        RUN, "job", "main", 1, State.FAILED, "exit 3", END, wall(3), 1, 4 * 10**9
    )
    waiting = effects.RunQueued(NEXT, "job", None, Trigger.START, wall(2))
    over = encode_run_id(NUMBER + 2)
    written.write(QUEUED, BEGUN, SPAWNED, first_end, second_try, effects.RunCancelling(RUN, "job"), waiting)
    written.write(
        effects.RunQueued(over, "job", wall(5), Trigger.SLOT, wall(5)),
        effects.RunFinished(over, "job", State.CANCELLED, wall(5)),
    )
    attempts = (
        OpenAttemptRow(
            "main", 1, State.FAILED, SUPERVISOR, wall(0), 4711, Now(wall(1), 5), wall(3), wall(3) + 4 * 10**9
        ),
        OpenAttemptRow("main", 2, State.RUNNING, SUPERVISOR, wall(0), None, None, None, None),
    )
    assert read_open_runs(written.connection) == [
        OpenRunRow(RUN, "job", SLOT, Trigger.SLOT, True, attempts),
        OpenRunRow(NEXT, "job", None, Trigger.START, False, ()),
    ]


def test_more_attempts_than_ten_are_read_back_in_the_order_of_their_numbers(written: Written) -> None:
    written.write(
        QUEUED, *(effects.AttemptBegun(RUN, "job", "main", number, SLOT) for number in range(1, 13))
    )
    [run] = read_open_runs(written.connection)
    assert list(range(1, 13)) == [attempt.number for attempt in run.attempts]
