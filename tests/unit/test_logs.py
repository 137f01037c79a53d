"""What the log says of each record, and at which level."""

from __future__ import annotations

import logging
from datetime import timedelta, timezone
from select import PIPE_BUF

import pytest

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects
from taskman_cli.core.model import Exit, SkipReason, State, Trigger
from taskman_cli.core.sinks import ReportKind
from taskman_cli.core.sizes import format_size
from taskman_cli.scheduler.logs.loggers import NOTICE
from taskman_cli.scheduler.logs.messages import log_record
from taskman_cli.scheduler.logs.writers import portions

#: 2026-11-24T04:00:00Z
FOUR = 1_795_492_800 * 10**9


def finished(
    state: State = State.FAILED, *, detail: str = "exit 3", **options: object
) -> effects.AttemptFinished:
    values = {"attempt": 1, "exit": None, "ended_ns": 0, "duration_ns": 1_500_000_000} | options
    return effects.AttemptFinished("run", "backup", "main", state=state, detail=detail, **values)  # type: ignore[arg-type]


RECORDS = [
    (finished(State.SUCCEEDED, detail=""), logging.INFO, "backup: succeeded after 1.5s"),
    (finished(), logging.ERROR, "backup: failed (exit 3) after 1.5s"),
    (finished(State.TIMED_OUT), logging.ERROR, "backup: timed out (exit 3) after 1.5s"),
    (finished(State.CANCELLED), logging.INFO, "backup: cancelled (exit 3) after 1.5s"),
    (
        finished(attempt=2, retry_in_ns=60_000_000_000),
        logging.ERROR,
        "backup: failed (exit 3) after 1.5s, attempt 2, next in 1m",
    ),
    (
        finished(exit=Exit(3, output_bytes=7)),
        logging.ERROR,
        "backup: failed (exit 3) after 1.5s; output: /out",
    ),
    (
        finished(State.SUCCEEDED, detail="", exit=Exit(0, output_bytes=7, output_error="disk full")),
        logging.WARNING,
        "backup: succeeded after 1.5s; output lost: disk full",
    ),
    (
        finished(exit=Exit(3, cpu_s=41.3, peak_rss_bytes=210_400_000, output_bytes=7), retry_in_ns=10**9),
        logging.ERROR,
        "backup: failed (exit 3) after 1.5s, 41.3s CPU, 210MB, attempt 1, next in 1s; output: /out",
    ),
    (
        finished(State.LOST, detail="its end was not seen", exit=None, duration_ns=None, retry_in_ns=0),
        logging.ERROR,
        "backup: lost (its end was not seen), attempt 1, next in 0s",
    ),
    (
        finished(State.SUCCEEDED, detail="", exit=Exit(0, cpu_s=0.1)),
        logging.INFO,
        "backup: succeeded after 1.5s, 100ms CPU",
    ),
    (
        finished(State.SUCCEEDED, detail="", exit=Exit(0, cpu_s=0.099, peak_rss_bytes=10**9)),
        logging.INFO,
        "backup: succeeded after 1.5s",
    ),
    (
        effects.SlotsSkipped("j", FOUR, FOUR, 1, SkipReason.OVERLAP, "run x is not over"),
        logging.WARNING,
        "j: skipped the slot 2026-11-24T05:00:00+01:00 (overlap): run x is not over",
    ),
    (
        effects.SlotsSkipped("j", FOUR, FOUR + 10**8, 1234, SkipReason.MISSED, "reached 1h late"),
        logging.WARNING,
        "j: skipped 1,234 slots from 2026-11-24T05:00:00+01:00 to 2026-11-24T05:00:00.100000+01:00 (missed): "
        "reached 1h late",
    ),
    (
        effects.SlotsSkipped("j", FOUR, FOUR + 10**9, None, SkipReason.MISSED, "reached 1w late"),
        logging.WARNING,
        "j: skipped slots past counting from 2026-11-24T05:00:00+01:00 to 2026-11-24T05:00:01+01:00 "
        "(missed): reached 1w late",
    ),
    (
        effects.SlotsSkipped("j", FOUR, FOUR, 1, SkipReason.DISABLED, "enabled = false"),
        logging.DEBUG,
        "j: skipped the slot 2026-11-24T05:00:00+01:00 (disabled): enabled = false",
    ),
    (
        effects.RunQueued("r", "j", FOUR, Trigger.SLOT, FOUR),
        logging.DEBUG,
        "j: run r queued (slot 2026-11-24T05:00:00+01:00)",
    ),
    (
        effects.RunQueued("r", "j", FOUR, Trigger.CATCH_UP, FOUR),
        logging.DEBUG,
        "j: run r queued (catch-up 2026-11-24T05:00:00+01:00)",
    ),
    (effects.RunQueued("r", "j", None, Trigger.START, FOUR), logging.DEBUG, "j: run r queued (start)"),
    (effects.AttemptBegun("r", "j", "t", 2, 0), logging.DEBUG, "j.t: run r, attempt 2 starting"),
    (effects.RunFinished("r", "j", State.SUCCEEDED, 0), logging.DEBUG, "j: run r succeeded"),
    (
        effects.RunFinished("r", "j", State.CANCELLED, 0, ("main",)),
        logging.INFO,
        "j: run r cancelled, left undone",
    ),
    (
        effects.RunFinished("r", "j", State.FAILED, 0, ("b", "c")),
        logging.INFO,
        "j: run r failed, left undone: b, c",
    ),
    (
        effects.RunFinished("r", "j", State.CANCELLED, 0, ("main",), "the job is not defined any more"),
        logging.WARNING,
        "j: run r cancelled: the job is not defined any more",
    ),
    (
        effects.AttemptAdopted("r", "j", "t", 2, 77),
        NOTICE,
        "j.t: run r outlived its supervisor, watching 77",
    ),
    (
        effects.AttemptStuck("r", "j", "t", 2, 77),
        logging.ERROR,
        "j.t: run r was killed, and its process 77 does not end",
    ),
    (
        effects.AttemptStuck("r", "j", "main", 2, None),
        logging.ERROR,
        "j: run r was killed, and its process does not end",
    ),
    (
        effects.SurvivorsFound("r", "j", "t", 2, 15, 1, ((77, "sleep"),)),
        logging.WARNING,
        "j.t: run r left 1 process, which got TERM: sleep (77)",
    ),
    (
        effects.SurvivorsFound("r", "j", "main", 2, 1000, 12, ((77, "a"), (78, "b"))),
        logging.WARNING,
        "j: run r left 12 processes, which got signal 1000: a (77), b (78), …",
    ),
    (
        effects.SurvivorsFound("r", "j", "main", 2, None, 2, ((77, "a"), (78, "b"))),
        logging.ERROR,
        "j: run r left 2 processes that cannot be ended: a (77), b (78)",
    ),
    (
        effects.Noticed(ReportKind.RECOVERED, "j", "r", FOUR, "after 3 failed runs"),
        NOTICE,
        "j: recovered: after 3 failed runs",
    ),
    (
        effects.Noticed(ReportKind.OVERDUE, "j", None, None, "no success for 1h"),
        logging.WARNING,
        "j: overdue: no success for 1h",
    ),
    (effects.SuspendNoted(5_400_000_000_000), logging.INFO, "the machine slept for 1h30m"),
    (
        effects.JobsTaken(12, tuple(f"j{n}" for n in range(11)), (), ()),
        NOTICE,
        "added 11 jobs: j0, j1, j2, j3, j4, j5, j6, j7, j8, j9, …",
    ),
    (
        effects.JobsTaken(1, ("a",), (), ("b",), (), "ann"),
        NOTICE,
        "reload (ann): added job: a; removed job: b",
    ),
    (effects.JobsTaken(1, (), (), (), (), "watch"), NOTICE, "reload (watch): nothing changed"),
    (effects.JobsTaken(2, (), ("b",), ()), NOTICE, "changed job: b"),
    (effects.JobsTaken(1, (), (), ("c", "d")), NOTICE, "removed 2 jobs: c, d"),
    (
        effects.SpawnDelayed("no room", 100_000_000),
        logging.WARNING,
        "cannot start a process (no room): waiting 100ms",
    ),
    (
        effects.SpawnDelayed("no room", 100_000_000, "joe", "r"),
        logging.WARNING,
        "cannot start a process as user joe (no room): starts as this user wait 100ms",
    ),
    (effects.ClockStepNoted(-3_000_000_000), logging.WARNING, "the clock stepped back by 3s"),
    (effects.ClockStepNoted(3_000_000_000), logging.WARNING, "the clock stepped forward by 3s"),
    (
        effects.ClockStepNoted(7_884_000_000_000_000_070),
        logging.WARNING,
        "the clock stepped forward by 91250d",
    ),
]


@pytest.mark.parametrize(("record", "level", "text"), RECORDS, ids=[text[:60] for _, _, text in RECORDS])
def test_each_record_is_logged_as_a_message(
    record: effects.Effect, level: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="taskman"):
        log_record(record, output_path="/out", timezone=timezone(timedelta(hours=1)))
    assert [(level, text)] == [(found.levelno, found.getMessage()) for found in caplog.records]


@pytest.mark.parametrize(
    "record",
    [
        effects.JobsTaken(2, ("a", "b"), (), ()),
        effects.JobsTaken(2, (), (), ()),
        effects.AttemptSpawned("r", "j", "t", 1, 7, Now(1, 2)),
        effects.AttemptWithdrawn("r", "j", "t", 1),
        effects.RunCancelling("r", "j"),
        effects.SchedulerNoted("scheduler_started"),
        effects.Accounted(1),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_without_news_are_not_logged(
    record: effects.Effect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="taskman"):
        log_record(record)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1KB"),
        (1_260_000, "1.26MB"),
        (210_400_000, "210MB"),
        (999_499_999, "999MB"),
        (999_500_000, "1GB"),
        (64_123_000_000, "64.1GB"),
        (5 * 10**15, "5000TB"),
    ],
)
def test_sizes_are_short_to_read(size_bytes: int, expected: str) -> None:
    assert format_size(size_bytes) == expected


def test_slots_are_logged_in_utc_if_no_zone_is_given(caplog: pytest.LogCaptureFixture) -> None:
    log_record(effects.SlotsSkipped("j", FOUR, FOUR, 1, SkipReason.LATE, "x"))
    assert "the slot 2026-11-24T04:00:00+00:00 (late)" in caplog.text


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([10, 20], [30]),
        ([PIPE_BUF - 10, 10, 1], [PIPE_BUF, 1]),
        ([1, 2 * PIPE_BUF, 1], [1, 2 * PIPE_BUF, 1]),
    ],
    ids=["none", "a few", "as many as fit", "a long one is alone"],
)
def test_lines_are_written_together_as_far_as_a_pipe_takes_them_at_once(
    lengths: list[int], expected: list[int]
) -> None:
    lines = [b"x" * (length - 1) + b"\n" for length in lengths]
    assert [len(portion) for portion in portions(lines)] == expected
    assert b"".join(portions(lines)) == b"".join(lines)
