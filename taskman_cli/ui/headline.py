"""The line above the panels and the one below: the scheduler's state, and its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from taskman_cli.core.model import State
from taskman_cli.ui import amounts, marks
from taskman_cli.ui.executors import executor_words
from taskman_cli.ui.marks import BOLD, QUIET
from taskman_cli.ui.queues import queue_words
from taskman_cli.ui.rows import bar
from taskman_cli.ui.text import Line, joined, label, line_width, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.engine.news import FilesNote
    from taskman_cli.core.engine.view import Counters, SinkRow, Snapshot

_GAP = "   "


def header(snapshot: Snapshot, *, width: int) -> Line:
    """Return name, state, uptime, jobs and the pool; the least important is dropped first."""
    busy = len(snapshot.workers)
    if snapshot.trouble is not None:
        mark, state = marks.STATES[State.FAILED], "ledger unwritable, nothing starts"
    elif snapshot.stopping:
        mark, state = marks.STOPPING, _stopping(snapshot)
    else:
        mark, state = marks.STATES[State.SUCCEEDED], "running"
    name = [Segment("taskman", BOLD)]
    status = [Segment(f"{marks.RUNNING.sign if state == 'running' else mark.sign} {state}", mark.style)]
    uptime = [Segment(f"up {amounts.span(snapshot.now.wall_ns - snapshot.started_ns)}")]
    paused = f", {snapshot.paused:,} paused" if snapshot.paused else ""
    parked = [Segment(f", {snapshot.parked:,} parked", marks.BAD)] if snapshot.parked else []
    jobs = [Segment(_count(snapshot.jobs, "job") + paused), *parked]
    seats = [Segment(f"{busy:,}/{snapshot.max_workers:,}")]
    workers = [*seats, Segment(" workers")]
    share = busy / snapshot.max_workers if snapshot.max_workers > 0 else 0.0
    meter = [*bar(share, width=min(max(width // 5, 8), 32), style=marks.ACTIVE), Segment(" "), *workers]
    for left, right in (
        ([name, status, uptime, jobs], meter),
        ([name, status, uptime, jobs], workers),
        ([name, status, uptime], meter),
        ([name, status, uptime], workers),
        ([name, status], workers),
        ([name, status], seats),
        ([status], seats),
    ):
        beginning = joined(left, gap=_GAP)
        blank = width - line_width(beginning) - line_width(right)
        if blank >= len(_GAP):
            return [*beginning, Segment(" " * blank), *right]
    return status


def files_line(note: FilesNote, *, width: int) -> Line:
    """Return the result of reading the job files again."""
    mark = marks.STATES[State.FAILED if note.is_bad else State.SUCCEEDED]
    words = f"job files: {note.summary}" if note.is_bad else note.summary
    return [Segment(label(f"{mark.sign} {words}", most=width), mark.style)]


def sink_line(sinks: Sequence[SinkRow], now_ns: int, *, width: int) -> Line | None:
    """Return which sinks do not take what they are told, in one line; None: there is none."""
    parts = []
    for sink in sinks:
        words = []
        if sink.failing_ns is not None:
            length = amounts.span(max(0, now_ns - sink.failing_ns))
            words.append(f"fails for {length}, {sink.waiting:,} wait")
        if sink.set_aside:
            words.append(f"{sink.set_aside:,} set aside")
        if words:
            parts.append(f"{sink.sink} {', '.join(words)}")
    if not parts:
        return None
    mark = marks.STATES[State.FAILED]
    return [Segment(label(f"{mark.sign} sinks: {'; '.join(parts)}", most=width), mark.style)]


def _stopping(snapshot: Snapshot) -> str:
    if not snapshot.workers:
        return "stopped"
    return "draining" if snapshot.draining else "stopping"


def counters(so_far: Counters, *, width: int) -> Line:
    """Return the counters since the start: rare kinds only if not zero, and as many as fit."""
    rarer = (
        (State.TIMED_OUT, so_far.timed_out),
        (State.LOST, so_far.lost),
        (State.CANCELLED, so_far.cancelled),
        (State.SKIPPED, so_far.skipped),
    )
    parts = [
        _end(State.SUCCEEDED, so_far.succeeded),
        _end(State.FAILED, so_far.failed),
        *(_end(state, count) for state, count in rarer if count),
    ]
    others = ((so_far.retried, "retried"), (so_far.spawn_waits, "spawn waits"))
    parts += [[Segment(f"{count:,} {what}", QUIET)] for count, what in others if count]
    started: Line = [Segment(f"{so_far.started:,} started", QUIET)]
    for gap in (_GAP, "  "):
        for shown in ([started, *parts], parts):
            line = joined(shown, gap=gap)
            if line_width(line) <= width:
                return line
    while len(parts) > 1 and line_width(joined(parts)) > width:
        parts.pop()
    return joined(parts)


def executors_line(snapshot: Snapshot, *, width: int) -> Line:
    """Return how the executors stand, those first that are away; empty: there is none but `local`."""
    parts: Line = []
    room = width
    for words, is_away in executor_words(snapshot.executors, snapshot.now.elapsed_ns):
        lead = "; " if parts else "executors: "
        text = label(lead + words, most=room)
        parts.append(Segment(text, marks.BAD if is_away else QUIET))
        room -= width_of(text)
        if room <= len("; "):
            break
    return parts


def queues_line(snapshot: Snapshot, *, width: int) -> Line:
    """Return what waits in queues and the most that ever did; empty: nothing ever has."""
    lead = "queues: "
    words = queue_words(snapshot.queues, most=width - len(lead))
    return [Segment(lead + words, QUIET)] if words else []


def _end(state: State, count: int) -> Line:
    """Return the count of a state, in its colour unless it is zero."""
    mark = marks.STATES[state]
    style = mark.style if count else QUIET
    return [Segment(f"{mark.sign} ", style), Segment(f"{count:,} {marks.word(state)}", style)]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
