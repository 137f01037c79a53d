"""What a simulation found, for people: columns side by side, what waits, the day as a strip."""

from __future__ import annotations

from collections import Counter
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.cli.render import (
    cut,
    cut_begin,
    day_and_time,
    note,
    say,
    show_rows,
    show_wrapped,
    width_of_output,
)
from taskman_cli.cli.support.simulation_document import (
    changes_of,
    cron_schedules,
    mean_running,
    parts_of_day,
    waiting_jobs,
)
from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.sizes import format_size
from taskman_cli.core.timespec import format_duration
from taskman_cli.insight.explain.clocknotes import clock_notes
from taskman_cli.insight.explain.notes import expression_of
from taskman_cli.simulate.habits import CPU_SHARE, Basis
from taskman_cli.simulate.tally import PARTS
from taskman_cli.ui.amounts import duration
from taskman_cli.ui.signs import HEAT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, tzinfo

    from taskman_cli.cli.support.simulated import Simulation, Variant
    from taskman_cli.simulate.player import Played

#: Rows of a table; the document has all of them.
_MOST_ROWS = 10
#: The label of a row of the comparison, and the least width of a column.
_LABEL, _COLUMN = 30, 10
_GAP, _DIFFERS = "  ", "  *"
_WIDTH = 80
_YEAR_NS = 365 * 86_400 * SECOND_NS
_WORDS = {
    WaitsFor.WORKER.value: "a worker",
    WaitsFor.CPU.value: "a CPU",
    WaitsFor.MEMORY.value: "memory",
    WaitsFor.EXECUTOR.value: "an executor",
}


class _Times(NamedTuple):
    """How times are shown."""

    zone: tzinfo
    #: The year stands in them: days of the year come again.
    has_years: bool

    def short(self, at_ns: int) -> str:
        """Write an instant, with seconds only where there are some."""
        at = wall_time(at_ns, self.zone)
        return self.day(at) + (f"{at:%H:%M:%S}" if at_ns % (60 * SECOND_NS) else f"{at:%H:%M}")

    def day(self, at: datetime) -> str:
        """Write a day, and a blank."""
        return f"{at:%a %d %b %Y} " if self.has_years else f"{at:%a %d %b} "


class _Row(NamedTuple):
    """A line of the comparison."""

    label: str
    cells: list[str]


def print_simulation(simulation: Simulation, played: Sequence[Played], zone: tzinfo) -> None:
    """Print all of it."""
    width = width_of_output()
    names = [cut_begin(name, width // 2) if width else name for name in names_of(simulation.variants)]
    times = _Times(zone, has_years=simulation.length_ns >= _YEAR_NS)
    show_wrapped([(line,) for line in _heading(simulation, zone)], colours={})
    _print_comparison(names, list(_rows(simulation, played)))
    for name, one in zip(names, played, strict=True):
        head = f" ({name})" if len(played) > 1 else ""
        _print_waits(one, times, head)
        _print_busiest(one, times, head)
    _print_strips(names, played, zone)
    for name, one in zip(names, played, strict=True):
        _print_trouble(one, times, f"{name}: " if len(played) > 1 else "")
    _print_changes(simulation, times)


def names_of(variants: Sequence[Variant]) -> Iterator[str]:
    """Yield what tells each variant from the others: nothing that all paths begin with."""
    has_files = len({variant.files for variant in variants}) > 1
    above = _common_directory([file for variant in variants for file in variant.files])
    for variant in variants:
        words = [" ".join(file.removeprefix(above) for file in variant.files)] if has_files else []
        if variant.workers is not None:
            words.append(f"{variant.workers:,} worker{'' if variant.workers == 1 else 's'}")
        yield ", ".join(words) or "as the file says"


def _common_directory(files: Sequence[str]) -> str:
    """Return the directories that all paths begin with, as they are written, up to a slash."""
    levels = zip(*(file.split("/")[:-1] for file in files), strict=False)
    return "".join(f"{level[0]}/" for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _heading(simulation: Simulation, zone: tzinfo) -> Iterator[str]:
    hardware = simulation.hardware
    memory = "" if hardware.memory_bytes is None else f" and {format_size(hardware.memory_bytes, gap=' ')}"
    cores = f"{hardware.cores:g} core{'' if hardware.cores == 1 else 's'}{memory}"
    begin = day_and_time(wall_time(simulation.from_ns, zone))
    yield f"{format_duration(simulation.length_ns)} from {begin}, on {cores}"
    yield "This is a model: nothing was executed, and what overlaps shares the cores and the memory."
    bases = {
        owner: (habit.basis, habit) for habits in simulation.habits for owner, habit in habits.of.items()
    }
    parts = []
    for basis, words in (
        (Basis.HISTORY, "from the ledger"), (Basis.GIVEN, "as given"), (Basis.ASSUMED, "assumed"),
    ):  # fmt: skip
        found = [habit for one, habit in bases.values() if one is basis]
        if found:
            count = f"{len(found):,} command{'' if len(found) == 1 else 's'}"
            lengths = sorted({habit.median_ns for habit in found})
            span = (
                duration(lengths[0])
                if len(lengths) == 1
                else f"{duration(lengths[0])} to {duration(lengths[-1])}"
            )
            has_share = basis is not Basis.HISTORY and any(habit.is_here for habit in found)
            cpu = f", {CPU_SHARE:.0%} of it CPU time" if has_share else ""
            parts.append(f"{count} {words} ({span}{cpu})")
    yield f"Run times: {'; '.join(parts)}."


def _rows(simulation: Simulation, played: Sequence[Played]) -> Iterator[_Row]:
    tallies = [one.tally for one in played]

    def counts(values: Sequence[int]) -> list[str]:
        return [f"{value:,}" for value in values]

    yield _Row("jobs", counts([len(variant.jobs) for variant in simulation.variants]))
    yield _Row("admission", [one.scenario.settings.admission.value for one in played])
    yield _Row("workers at most", counts([one.seats for one in played]))
    yield _Row("runs started", counts([tally.waits.count for tally in tallies]))
    for state in dict.fromkeys(name for tally in tallies for name in sorted(tally.states)):
        yield _Row(f"  runs {state.replace('_', ' ')}", counts([tally.states[state] for tally in tallies]))
    for label, values in (
        ("  runs not over", [tally.unfinished for tally in tallies]),
        ("  retries", [tally.retries for tally in tallies]),
        ("  killed for memory", [tally.memory_kills for tally in tallies]),
    ):
        if any(values):
            yield _Row(label, counts(values))
    for reason in dict.fromkeys(name for tally in tallies for name in sorted(tally.skips)):
        yield _Row(f"skipped: {reason}", counts([tally.skips[reason] for tally in tallies]))
    for label, share in (("wait, half at most", 0.5), ("wait, 95 % at most", 0.95)):
        yield _Row(label, [_wait(tally.waits.quantile(share)) for tally in tallies])
    yield _Row("wait, worst", [_wait(tally.waits.worst_ns) for tally in tallies])
    for what in dict.fromkeys(name for tally in tallies for name in sorted(tally.waited_for)):
        cells = [_wait(tally.waited_for[what]) for tally in tallies]
        yield _Row(f"  time waiting for {_WORDS.get(what, what)}", cells)
    yield _Row("due to done, 95 % at most", [_wait(tally.done.quantile(0.95)) for tally in tallies])
    yield _Row("running at once, mean", [f"{mean_running(one):.2f}" for one in played])
    yield _Row("running at once, most", counts([tally.peak for tally in tallies]))
    yield _Row("cores busy", [f"{one.cores_busy:.0%}" for one in played])
    yield _Row("longer than alone by", [f"{max(0.0, one.slowdown - 1):.0%}" for one in played])
    if simulation.hardware.memory_bytes is not None:
        yield _Row("memory, most", [format_size(one.memory_peak_bytes, gap=" ") for one in played])


def _wait(ns: int) -> str:
    return duration(ns) if ns else "0"


def _print_comparison(names: Sequence[str], rows: Sequence[_Row]) -> None:
    """Print the columns; if they are too many for the line, one block below the other."""
    say("")
    width = width_of_output() or _WIDTH
    label_width = min(_LABEL, max(width - _COLUMN - len(_GAP + _DIFFERS), _COLUMN))
    if len(names) == 1:
        for label, cells in rows:
            say(f"{cut(label, label_width).ljust(label_width)}{_GAP}{cells[0]}")
        return
    room = width - label_width - len(_DIFFERS)
    columns = [
        min(max(_COLUMN, len(name), *(len(row.cells[index]) for row in rows)), max(room // 2, _COLUMN))
        for index, name in enumerate(names)
    ]
    for shown in _blocks(columns, room):
        heads = "".join(
            _GAP + cut_begin(names[index], columns[index]).rjust(columns[index]) for index in shown
        )
        say(" " * label_width + heads)
        for label, cells in rows:
            line = "".join(_GAP + cells[index].rjust(columns[index]) for index in shown)
            is_equal = len(set(cells)) == 1
            say(f"{cut(label, label_width).ljust(label_width)}{line}{'' if is_equal else _DIFFERS}")
        say("")
    say("* differs")


def _blocks(columns: Sequence[int], room: int) -> Iterator[list[int]]:
    """Yield the numbers of the columns that have room beside each other, at least one."""
    block: list[int] = []
    for index, column in enumerate(columns):
        if block and sum(columns[one] + len(_GAP) for one in block) + column + len(_GAP) > room:
            yield block
            block = []
        block.append(index)
    yield block


def _print_waits(played: Played, times: _Times, head: str) -> None:
    jobs = waiting_jobs(played)
    say("")
    if not jobs:
        show_wrapped([(f"Nothing waits{head}.",)], colours={})
        return
    rows = [
        (
            name,
            _wait(one.waits.quantile(0.5)),
            _wait(one.waits.quantile(0.95)),
            _wait(one.waits.worst_ns),
            f"{one.waits.count:,}",
            "" if one.worst_due_ns is None else times.short(one.worst_due_ns),
        )
        for name, one in islice(jobs, _MOST_ROWS)
    ]
    more = f", the first {_MOST_ROWS} of {len(jobs):,}" if len(jobs) > _MOST_ROWS else ""
    show_rows(
        rows,
        right=frozenset({1, 2, 3, 4}),
        elastic=0,
        spare=(4,),
        heading=f"What waits{head}{more}",
        columns=("JOB", "HALF", "95 %", "WORST", "STARTS", "WORST WAS DUE"),
    )


def _print_busiest(played: Played, times: _Times, head: str) -> None:
    rows = [
        (times.short(minute.at_ns), f"{minute.starts:,}", f"{minute.peak:,}", _wait(minute.worst_ns))
        for minute in played.tally.busiest
    ]
    if rows:
        say("")
        show_rows(
            rows,
            right=frozenset({1, 2}),
            heading=f"Busiest minutes{head}",
            columns=("MINUTE", "STARTS", "RUNNING", "WORST WAIT"),
        )


def _print_strips(names: Sequence[str], played: Sequence[Played], zone: tzinfo) -> None:
    """Print how many run over the day, each part of it in one sign; all on the same scale."""
    width = width_of_output() or _WIDTH
    cells = next(count for count in (96, 48, 24, 12) if count <= width or count == 12)
    strips = [list(_folded(one, cells)) for one in played]
    most = max((mean for strip in strips for mean in strip if mean is not None), default=0.0)
    if not most:
        return
    say("")
    rows = []
    for name, strip in zip(names, strips, strict=True):
        rows += [(name,)] if len(played) > 1 else []
        rows.append(("".join(" " if mean is None else _heat(mean / most) for mean in strip),))
    rows.append(("".join(f"{hour:02}".ljust(cells // 4) for hour in (0, 6, 12, 18)).rstrip(),))
    show_rows(rows, heading=f"What runs at once over the day, on average ({HEAT[-1]} is {most:.3g}; {zone})")


def _folded(played: Played, cells: int) -> Iterator[float | None]:
    """Yield the mean of what ran in each cell of the day; None: the window has nothing of it."""
    parts = list(parts_of_day(played))
    each = PARTS // cells
    for first in range(0, PARTS, each):
        group = parts[first : first + each]
        passed = sum(passed_ns for _, _, passed_ns in group)
        yield sum(mean * passed_ns for mean, _, passed_ns in group) / passed if passed else None


def _heat(share: float) -> str:
    return HEAT[min(len(HEAT) - 1, int(share * (len(HEAT) - 1) + 0.999))]


def _print_trouble(played: Played, times: _Times, head: str) -> None:
    tally = played.tally
    rows = []
    if (missed := tally.first_missed) is not None:
        slot = times.short(missed.slot_ns)
        rows.append((f"{head}first deadline missed: {missed.job}, due {slot}: {missed.detail}",))
    for name, at_ns in islice(tally.parked.items(), _MOST_ROWS):
        rows.append((f"{head}parked: {name}, from {times.short(at_ns)} on",))
    if rows:
        say("")
        show_wrapped(rows, colours={})
    elif played.scenario.length_ns and not tally.waits.count:
        note(f"{head}nothing starts in this time")


def _print_changes(simulation: Simulation, times: _Times) -> None:
    schedules = cron_schedules(simulation)
    versions = Counter(job for job, _ in schedules)
    rows: list[tuple[str]] = []
    for name, change, _ in changes_of(simulation):
        is_same_day = change.before.date() == change.after.date()
        before = f"{times.day(change.before)}{change.before:%H:%M}"
        after = f"{'' if is_same_day else times.day(change.after)}{change.after:%H:%M}"
        rows.append((f"{name}: the clocks go from {before} to {after}",))
        for job, schedule in schedules:
            if schedule.timezone == name:
                expression = expression_of(schedule, name=job)
                label = f"{job} ({schedule.text})" if versions[job] > 1 else job
                rows += [(f"{label}: {words}",) for words in clock_notes(schedule, expression, [change])]
    if rows:
        say("")
        say("Clock changes")
        show_wrapped(rows[: 2 * _MOST_ROWS], colours={})
        if len(rows) > 2 * _MOST_ROWS:
            say(f"and {len(rows) - 2 * _MOST_ROWS:,} more")
