"""The rows of the three panels, in columns: running attempts, next slots, recent results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment

from taskman_cli.core.model import State
from taskman_cli.ui import amounts, marks
from taskman_cli.ui.alarms import count_words, next_words, why_words
from taskman_cli.ui.amounts import past_time
from taskman_cli.ui.grid import Column, Grid, plan
from taskman_cli.ui.marks import QUIET
from taskman_cli.ui.text import Line, joined, label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from rich.style import Style

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.view import AlarmRow, QueueRow, ResultRow, WorkerRow
    from taskman_cli.core.pause import Park, Pause

#: The maximum width of a column: more than any screen.
_WIDE = 1_000
_METER = 8
#: The reason of a failure gets this much before other columns are left out.
_WHY = 24
#: What started a run, unless a slot of its schedule was due.
_TRIGGERS = {"manual": "by hand", "once": "once"}


def name_of(job: str, task: str = "main") -> str:
    """Return the name of a task: `JOB.TASK`, or `JOB` if it is the only one."""
    return job if task == "main" else f"{job}.{task}"


def worker_lines(rows: Sequence[WorkerRow], *, now: Now, width: int, name_width: int) -> list[Line]:
    """Return a line for each running attempt: name, trigger and command, pid, duration, timeout."""
    pids = max((len(_pid(row)) for row in rows), default=0)
    limits = [len(amounts.limit(row.timeout_ns)) for row in rows if row.timeout_ns is not None]
    meter = _METER + 1 + max(limits) if limits else 0
    grid = plan(
        (
            _name_column(name_width),
            Column(8, _WIDE, rank=2),
            Column(pids, pids, right=True, rank=4),
            Column(7, 7, right=True),
            Column(meter, meter, rank=3),
        ),
        width,
    )
    return [_worker_line(row, now=now, grid=grid) for row in rows]


def _worker_line(row: WorkerRow, *, now: Now, grid: Grid) -> Line:
    mark = marks.STOPPING if row.note else marks.RUNNING
    elapsed_ns = now.elapsed_ns - row.started_elapsed_ns
    about = joined(
        [
            [Segment(label(row.note, most=_WIDE), mark.style)] if row.note else [],
            [Segment(f"attempt {row.attempt}", marks.WARN)] if row.attempt > 1 else [],
            [Segment(label(_progress(row), most=_WIDE), marks.ACTIVE)] if row.progress else [],
            [Segment(_TRIGGERS[row.trigger], QUIET)] if row.trigger in _TRIGGERS else [],
            [Segment(label(row.command, most=grid.widths[1]), QUIET)] if row.command else [],
        ]
    )
    return grid.line(
        _name(mark, name_of(row.job, row.task), grid),
        about,
        [Segment(_pid(row), QUIET)],
        [Segment(amounts.span(elapsed_ns))],
        _meter(elapsed_ns - row.stopped_ns, row.timeout_ns),
    )


def _pid(row: WorkerRow) -> str:
    if row.executor:
        return f"on {row.executor}"
    return "starting" if row.pid is None else f"pid {row.pid}"


def _progress(row: WorkerRow) -> str:
    """Say how far an attempt is: "42 % copying"."""
    part, words = row.progress or (None, "")
    share = "" if part is None else f"{part * 100:.0f} %"
    return f"{share} {words}".strip()


def _meter(elapsed_ns: int, timeout_ns: int | None) -> Line:
    """Return how much of its timeout an attempt has used: a bar and the timeout."""
    if timeout_ns is None:
        return []
    share = elapsed_ns / timeout_ns if timeout_ns > 0 else 1.0
    style = marks.ACTIVE if share < 0.75 else marks.WARN if share < 1 else marks.BAD
    return [*bar(share, width=_METER, style=style), Segment(f" {amounts.limit(timeout_ns)}", QUIET)]


def bar(share: float, *, width: int, style: Style) -> Line:
    """Return a bar that is filled by a share from 0 to 1, to half a cell; more than 0 is always visible."""
    halves = min(max(int(share * width * 2), 1 if share > 0 else 0), width * 2)
    filled = "━" * (halves // 2) + "╸" * (halves % 2)
    return [Segment(filled, style), Segment("─" * (width - len(filled)), QUIET)]


def queue_lines(
    rows: Sequence[QueueRow], *, now: Now, timezone: tzinfo, width: int, name_width: int
) -> list[Line]:
    """Return a line for each job with a next slot: name, countdown, slot, schedule."""
    shown = [_about(row, now.wall_ns) for row in rows]
    longest = max(map(cell_len, shown), default=0)
    grid = plan(
        (
            _name_column(name_width),
            Column(10, 10, right=True),
            Column(12, 12, right=True, rank=1),
            Column(min(longest, 12), longest, rank=2),
        ),
        width,
    )
    return [_queue_line(row, now=now, timezone=timezone, grid=grid) for row in rows]


def _queue_line(row: QueueRow, *, now: Now, timezone: tzinfo, grid: Grid) -> Line:
    if hold := row.pause or row.park:
        return _held_line(row, hold, now=now, timezone=timezone, grid=grid)
    left_ns = row.due_ns - now.wall_ns
    is_due = row.enabled and left_ns <= 0
    mark = marks.DUE if is_due else None
    when = amounts.countdown(left_ns) if row.enabled else "disabled"
    return grid.line(
        _name(mark, row.job, grid),
        [Segment(when, marks.DUE.style if is_due else None)],
        [Segment(amounts.wall_time(row.slot_ns or 0, now_ns=now.wall_ns, timezone=timezone), QUIET)],
        [Segment(label(row.schedule, most=grid.widths[3]), QUIET)] if grid.widths[3] else [],
    )


def _about(row: QueueRow, now_ns: int) -> str:
    """Return the last words of a row: who paused a job and why, how and why it is parked, or its schedule."""
    if row.pause:
        return pause_words(row.pause)
    if row.park is None:
        return row.schedule
    how = f"run {row.park.trial} tries it" if row.park.trial else ""
    if not how and row.park.until_ns is not None and row.park.until_ns <= now_ns:
        how = "its next slot is tried"
    return f"{how}: {row.park.reason}" if how else row.park.reason


def _held_line(row: QueueRow, hold: Pause | Park, *, now: Now, timezone: tzinfo, grid: Grid) -> Line:
    """Return that a job is paused or parked, until when and why, in place of its next slot and schedule."""
    until = ""
    if hold.until_ns is not None and hold.until_ns > now.wall_ns:
        until = amounts.wall_time(hold.until_ns, now_ns=now.wall_ns, timezone=timezone)
    what = Segment("paused", marks.STOPPING.style) if row.pause else Segment("parked", marks.BAD)
    return grid.line(
        _name(None, row.job, grid),
        [what],
        [Segment(until, QUIET)],
        [Segment(label(_about(row, now.wall_ns), most=grid.widths[3]), QUIET)] if grid.widths[3] else [],
    )


def pause_words(pause: Pause) -> str:
    """Return who paused a job, without ids, and why."""
    by = f"by {pause.by.partition(' (')[0]}" if pause.by else ""
    return ": ".join(word for word in (by, pause.reason) if word)


def alarm_lines(
    rows: Sequence[AlarmRow], *, now: Now, timezone: tzinfo, width: int, name_width: int
) -> list[Line]:
    """Return a line for each job that needs a person: name, failures, why, since when, what comes next."""
    counts = [count_words(row.failing.failures, is_more=row.failing.is_more) for row in rows]
    whys = [why_words(row.failing.task, row.failing.state, row.failing.detail) for row in rows]
    nexts = [next_words(row.due_ns, row.note, now_ns=now.wall_ns) for row in rows]
    most = max(map(len, counts), default=0)
    longest = max(map(len, nexts), default=0)
    grid = plan(
        (
            _name_column(name_width),
            Column(most, most),
            Column(min(max(map(len, whys), default=0), _WHY), _WIDE),
            Column(18, 18, rank=3),
            Column(longest, longest, right=True, rank=2),
        ),
        width,
    )
    lines = []
    for row, count, why, next_start in zip(rows, counts, whys, nexts, strict=True):
        mark, failing = marks.STATES[row.failing.state], row.failing
        since = (
            "" if not failing.since_ns else past_time(failing.since_ns, now_ns=now.wall_ns, timezone=timezone)
        )
        lines.append(
            grid.line(
                _name(mark, row.failing.job, grid),
                [Segment(count, mark.style)],
                [Segment(label(why, most=grid.widths[2]))],
                [Segment(f"since {since}" if since else "", QUIET)],
                [Segment(next_start, QUIET)],
            )
        )
    return lines


def result_lines(rows: Sequence[ResultRow], *, now: Now, width: int, name_width: int) -> list[Line]:
    """Return a line for each ended attempt or skip: name, state, duration, reason, how long ago."""
    grid = plan(
        (
            _name_column(name_width),
            Column(9, 9),
            Column(7, 7, right=True, rank=4),
            Column(6, _WIDE, rank=3),
            Column(8, 8, right=True, rank=2),
        ),
        width,
    )
    return [_result_line(row, now=now, grid=grid) for row in rows]


def _result_line(row: ResultRow, *, now: Now, grid: Grid) -> Line:
    mark = marks.STATES[row.state]
    about = joined(
        [
            [Segment(label(row.detail, most=grid.widths[3]))] if row.detail else [],
            [Segment(f"attempt {row.attempt}", QUIET)] if row.attempt > 1 else [],
        ]
    )
    took = "" if row.state is State.SKIPPED or row.duration_ns is None else amounts.duration(row.duration_ns)
    return grid.line(
        _name(mark, name_of(row.job, row.task), grid),
        [Segment(marks.word(row.state), mark.style)],
        [Segment(took)],
        about,
        [Segment(amounts.ago(now.wall_ns - row.ended_ns), QUIET)],
    )


def _name_column(name_width: int) -> Column:
    return Column(8, max(name_width + 2, 8))


def _name(mark: marks.Mark | None, name: str, grid: Grid) -> Line:
    """Return the first cell of a row: a mark, or space for one, and a name."""
    sign = Segment(f"{mark.sign} ", mark.style) if mark else Segment("  ")
    return [sign, Segment(label(name, most=grid.widths[0] - 2))]
