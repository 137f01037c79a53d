"""The whole view as a pure function: from a snapshot and a size to lines of exactly that width.

Wide screens have two columns of panels, narrow ones one column; on low ones the boxes are left out, then the
titles. Nothing ever wraps or scrolls: rows that do not fit are counted instead.
"""

from __future__ import annotations

from itertools import islice, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from rich.segment import Segment

from taskman_cli.core.engine.view import QueueRow
from taskman_cli.ui.headline import counters, executors_line, files_line, header, queues_line, sink_line
from taskman_cli.ui.marks import QUIET
from taskman_cli.ui.panel import Decoration, Panel, decorated, share
from taskman_cli.ui.rows import alarm_lines, name_of, queue_lines, result_lines, worker_lines
from taskman_cli.ui.text import Line, fit, label, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from rich.console import Console, ConsoleOptions, RenderResult

    from taskman_cli.core.engine.view import Snapshot

#: From this width on, the queue and the results are side by side.
WIDE = 110
#: On a smaller screen than this, titles replace boxes.
_BOX_WIDTH, _BOX_HEIGHT = 56, 16
#: On a screen lower than the first there are no titles, and on one lower than the second no counters.
_RULE_HEIGHT, _COUNTERS_HEIGHT = 9, 6
#: On a lower screen than this, the queues are not shown.
_QUEUES_HEIGHT = 18
#: Cells of the title line of the workers that its text does not get.
_BESIDE_WORKERS = 13
#: On a lower screen than this, the result of a reload is not shown.
_NOTE_HEIGHT = 3
#: Rows reserved for attempts and results before there are any, so that the panels do not jump.
_WORKER_ROWS, _RESULT_ROWS = 3, 6
#: At most this many results are shown.
_RESULT_ROWS_MOST = 12
#: At most this many jobs that need a person are shown.
_ALARM_ROWS_MOST = 5
#: Names get as many cells as the longest visible one needs, but at least this many.
_NAME_LEAST = 12


class Frame:
    """Lines ready to be drawn, which Rich can print."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = tuple(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines with an end of line after each."""
        for line in self.lines:
            yield from line
            yield Segment.line()


def render(snapshot: Snapshot, *, width: int, height: int, timezone: tzinfo, worker_rows: int = 0) -> Frame:
    """Lay a snapshot out in at most `height` lines of `width` cells.

    `worker_rows` is how many attempts ran at once before: their rows are kept, so that other panels do not
    move.
    """
    if width <= 0 or height <= 0:
        return Frame([])
    margin = 1 if width >= _BOX_WIDTH else 0
    head = [header(snapshot, width=width - 2 * margin)]
    if snapshot.files and height >= _NOTE_HEIGHT:
        head.append(files_line(snapshot.files, width=width - 2 * margin))
    troubled = sink_line(snapshot.sinks, snapshot.now.wall_ns, width=width - 2 * margin)
    if troubled and height >= _NOTE_HEIGHT:
        head.append(troubled)
    foot = [counters(snapshot.counters, width=width - 2 * margin)] if height >= _COUNTERS_HEIGHT else []
    if height >= _COUNTERS_HEIGHT and (executors := executors_line(snapshot, width=width - 2 * margin)):
        foot.insert(0, executors)
    if height >= _QUEUES_HEIGHT and (queues := queues_line(snapshot, width=width - 2 * margin)):
        foot.insert(0, queues)
    panels = _Panels(snapshot, width=width, timezone=timezone, rows_in_sight=height, worker_rows=worker_rows)
    room = height - len(head) - len(foot)
    if height < _RULE_HEIGHT:
        body = panels.stack(room, Decoration.BARE)
    elif height < _BOX_HEIGHT or width < _BOX_WIDTH:
        body = panels.stack(room, Decoration.RULE)
    elif width < WIDE:
        body = panels.stack(room, Decoration.BOX)
    else:
        body = panels.two_columns(room)
    edge = Segment(" " * margin)
    return Frame(
        [
            *(fit([edge, *line], width) for line in head),
            *body,
            *(fit([edge, *line], width) for line in foot),
        ]
    )


class _Panels:
    """The panels of one snapshot, and the two layouts for them."""

    def __init__(
        self, snapshot: Snapshot, *, width: int, timezone: tzinfo, rows_in_sight: int, worker_rows: int
    ) -> None:
        self._snapshot = snapshot
        self._width = width
        self._timezone = timezone
        self._name_width = _name_width(
            snapshot, rows_in_sight, most=max(width // (6 if width >= WIDE else 3), _NAME_LEAST)
        )
        workers = max(len(snapshot.workers), min(max(worker_rows, _WORKER_ROWS), snapshot.max_workers))
        recent = min(max(len(snapshot.recent), _RESULT_ROWS), _RESULT_ROWS_MOST)
        #: Without any, their panel is left out.
        self._alarm_rows = min(len(snapshot.alarms), _ALARM_ROWS_MOST)
        self._next = _with_retries(snapshot)
        self._wants = workers, max(len(self._next), 1), recent

    def stack(self, room: int, decoration: Decoration) -> list[Line]:
        """Stack the panels; without titles, empty panels are left out."""
        snapshot = self._snapshot
        wants = self._wants
        if decoration is Decoration.BARE:
            wants = len(snapshot.workers), len(self._next), len(snapshot.recent)
        top = self._alarms(room, decoration)
        workers, queue, recent = share(room - len(top) - 3 * decoration.rows, wants)
        inner = decoration.inner(self._width)
        return [
            *top,
            *decorated(self._workers(workers, inner), width=self._width, rows=workers, decoration=decoration),
            *decorated(self._queue(queue, inner), width=self._width, rows=queue, decoration=decoration),
            *decorated(self._recent(recent, inner), width=self._width, rows=recent, decoration=decoration),
        ]

    def two_columns(self, room: int) -> list[Line]:
        """Give the workers, whose commands are long, the whole width; below: the queue beside the results."""
        decoration = Decoration.BOX
        top = self._alarms(room, decoration)
        workers, below = share(room - len(top) - 2 * decoration.rows, (self._wants[0], max(self._wants[1:])))
        left = self._width * 2 // 5
        right = self._width - left - 1
        queue = decorated(
            self._queue(below, decoration.inner(left)), width=left, rows=below, decoration=decoration
        )
        recent = decorated(
            self._recent(below, decoration.inner(right)), width=right, rows=below, decoration=decoration
        )
        across = self._workers(workers, decoration.inner(self._width))
        return [
            *top,
            *decorated(across, width=self._width, rows=workers, decoration=decoration),
            *([*one, Segment(" "), *other] for one, other in zip(queue, recent, strict=True)),
        ]

    def _alarms(self, room: int, decoration: Decoration) -> list[Line]:
        """Return the panel of the jobs that need a person, in at most a third of the room."""
        snapshot = self._snapshot
        rows = min(self._alarm_rows, max(room // 3 - decoration.rows, 0))
        if not rows:
            return []
        shown = snapshot.alarms[:rows]
        panel = Panel(
            title="Failing",
            info=f"taskman why {label(shown[0].failing.job, most=self._width)}",
            lines=alarm_lines(
                shown,
                now=snapshot.now,
                timezone=self._timezone,
                width=decoration.inner(self._width),
                name_width=self._name_width,
            ),
            more=snapshot.alarm_count - len(shown),
        )
        return decorated(panel, width=self._width, rows=rows, decoration=decoration)

    def _workers(self, rows: int, width: int) -> Panel:
        snapshot = self._snapshot
        shown = snapshot.workers[:rows]
        waiting = [
            f"{count:,} {what}"
            for count, what in ((snapshot.ready, "ready"), (snapshot.waiting_retries, "to retry"))
            if count
        ]
        if snapshot.target:
            waiting.insert(0, f"target {snapshot.target:,}")
        if snapshot.waits:
            waiting.append(f"waits {snapshot.waits}")
        return Panel(
            title="Workers",
            info=label(", ".join(waiting), most=max(width - _BESIDE_WORKERS, 0)),
            lines=worker_lines(shown, now=snapshot.now, width=width, name_width=self._name_width)
            or [_nothing("nothing is running")],
            more=len(snapshot.workers) - len(shown),
        )

    def _queue(self, rows: int, width: int) -> Panel:
        snapshot = self._snapshot
        shown = self._next[:rows]
        lines = queue_lines(
            shown, now=snapshot.now, timezone=self._timezone, width=width, name_width=self._name_width
        )
        return Panel(
            title="Queue",
            info=str(self._timezone),
            lines=lines or [_nothing("nothing is due")],
            more=len(self._next) - len(shown) + snapshot.queue_more,
        )

    def _recent(self, rows: int, width: int) -> Panel:
        snapshot = self._snapshot
        shown = tuple(islice(reversed(snapshot.recent), rows))
        return Panel(
            title="Recent results",
            info="",
            lines=result_lines(shown, now=snapshot.now, width=width, name_width=self._name_width)
            or [_nothing("nothing has ended yet")],
            # How many more the scheduler remembers is of no interest.
            more=0,
        )


def _with_retries(snapshot: Snapshot) -> tuple[QueueRow, ...]:
    """Return what starts next: the retries among the next slots, in the order of their times."""
    if not snapshot.retries:
        return snapshot.queue
    retries = [
        QueueRow(name_of(row.job, row.task), row.due_ns, row.due_ns, schedule=row.words)
        for row in snapshot.retries
    ]
    # Paused and disabled jobs come last, in an order of their own.
    coming = [*takewhile(lambda row: row.enabled and row.pause is None, snapshot.queue)]
    others = snapshot.queue[len(coming) :]
    return (*sorted([*coming, *retries], key=attrgetter("due_ns")), *others)


def _nothing(text: str) -> Line:
    """Return the text of an empty panel, aligned with the names in the others."""
    return [Segment(f"  {text}", QUIET)]


def _name_width(snapshot: Snapshot, rows: int, *, most: int) -> int:
    """Return the width of the longest visible name, so that the names of all panels end in one column."""
    names = [
        *(name_of(worker.job, worker.task) for worker in snapshot.workers[:rows]),
        *(row.failing.job for row in snapshot.alarms[:_ALARM_ROWS_MOST]),
        *(row.job for row in snapshot.queue[:rows]),
        *(name_of(row.job, row.task) for row in snapshot.retries[:rows]),
        *(name_of(result.job, result.task) for result in islice(reversed(snapshot.recent), rows)),
    ]
    longest = max((width_of(label(name, most=most)) for name in names), default=0)
    return min(max(longest, _NAME_LEAST), most)
