"""What a message says to people: a title, facts, the last lines of output; without control characters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from taskman_cli.core.clock import wall_time
from taskman_cli.core.escapes import printable
from taskman_cli.core.sinks import ReportKind
from taskman_cli.core.sizes import format_size
from taskman_cli.core.templates import LEVELS
from taskman_cli.core.timespec.durations import format_rough

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.sinks.base import Message, Report

_LEVELS = {
    ReportKind.STARTED: "info",
    ReportKind.SUCCEEDED: "good",
    ReportKind.FAILED: "problem",
    ReportKind.TIMED_OUT: "problem",
    ReportKind.LOST: "problem",
    ReportKind.CANCELLED: "info",
    ReportKind.SKIPPED: "warning",
    ReportKind.RETRIED: "warning",
    ReportKind.RECOVERED: "good",
    ReportKind.PARKED: "problem",
    ReportKind.DELAYED: "warning",
    ReportKind.SLOW: "warning",
    ReportKind.OVERDUE: "problem",
    ReportKind.SCHEDULER_STARTED: "info",
    ReportKind.SCHEDULER_STOPPED: "info",
    ReportKind.SCHEDULER_DIED: "problem",
}
_WORDS = {
    ReportKind.STARTED: "started",
    ReportKind.SUCCEEDED: "succeeded",
    ReportKind.FAILED: "failed",
    ReportKind.TIMED_OUT: "timed out",
    ReportKind.LOST: "was lost: nobody saw its end",
    ReportKind.CANCELLED: "was cancelled",
    ReportKind.SKIPPED: "was skipped",
    ReportKind.RETRIED: "failed and is tried again",
    ReportKind.RECOVERED: "succeeds again",
    ReportKind.PARKED: "is parked",
    ReportKind.DELAYED: "began late",
    ReportKind.SLOW: "is slow",
    ReportKind.OVERDUE: "is overdue",
    ReportKind.SCHEDULER_STARTED: "the scheduler started",
    ReportKind.SCHEDULER_STOPPED: "the scheduler stopped",
    ReportKind.SCHEDULER_DIED: "the scheduler died",
}
#: Titles go where one line is shown.
_LONGEST_TITLE = 200
#: How many jobs a title names.
_NAMED = 3
#: How long a line of output is shown; the log has all of it.
_LONGEST_LINE = 2000
_GAP = 10


def level_of(report: Report) -> str:
    """Tell how bad it is: one of LEVELS."""
    return _LEVELS[ReportKind(report.kind)]


def worst_level(message: Message) -> str:
    """Tell how bad the worst of a message is."""
    return min(map(level_of, message.reports), key=LEVELS.index, default="info")


def title_of(message: Message) -> str:
    """Return one line that says what happened, without the host."""
    if len(message.reports) == 1:
        title = title_of_report(message.reports[0])
    else:
        title = _title_of_many(message.reports)
    return f"test: {title}" if message.is_test else title


def title_of_report(report: Report) -> str:
    """Return one line that says what happened."""
    kind = ReportKind(report.kind)
    words = f"{name_of(report)} {_WORDS[kind]}" if report.job else _WORDS[kind]
    detail = report.detail or report.reason
    if kind is ReportKind.SUCCEEDED and not detail and report.duration_ns is not None:
        words += f" in {format_rough(report.duration_ns)}"
    if detail:
        words += f": {detail}"
    if report.count > 1:
        words += f" ({report.count:,} times)"
    return _cut(printable(words), _LONGEST_TITLE)


def name_of(report: Report) -> str:
    """Return the name of the job, with that of the task where a task has one of its own."""
    return f"{report.job}.{report.task}" if report.task not in ("", "main") else report.job


def _title_of_many(reports: Sequence[Report]) -> str:
    counts: Counter[str] = Counter()
    for report in reports:
        counts[ReportKind(report.kind).replace("_", " ")] += report.count
    what = ", ".join(f"{count:,} {word}" for word, count in counts.most_common())
    jobs = list(dict.fromkeys(report.job for report in reports if report.job))
    named = ", ".join(jobs[:_NAMED]) + (f" and {len(jobs) - _NAMED:,} more" if len(jobs) > _NAMED else "")
    return _cut(printable(f"{what}: {named}" if named else what), _LONGEST_TITLE)


def facts_of(report: Report) -> str:
    """Return lines of what is known of a report, output left out."""
    return "\n".join(f"{name:<{_GAP}}{printable(value)}" for name, value in _facts(report))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    if report.run:
        parts = [report.run]
        if report.task not in ("", "main"):
            parts.append(f"task {report.task}")
        if report.attempt > 1:
            parts.append(f"attempt {report.attempt}")
        yield "run", ", ".join(parts)
    if report.slot_ns is not None:
        yield "slot", _shown(report.slot_ns)
    if report.started_ns is not None:
        yield "started", _shown(report.started_ns)
    if report.ended_ns is not None:
        took = "" if report.duration_ns is None else f", after {format_rough(report.duration_ns)}"
        yield "ended", _shown(report.ended_ns) + took
    if report.started_ns is None and report.ended_ns is None:
        yield "at", _shown(report.at_ns)
    used = []
    if report.cpu_s is not None:
        used.append(f"{report.cpu_s:.2f}s of CPU")
    if report.peak_rss_bytes:
        used.append(f"{format_size(report.peak_rss_bytes)} of memory")
    if used:
        yield "used", ", ".join(used)
    yield "host", f"{report.host}, instance {report.instance}" if report.instance else report.host
    if report.command:
        yield "more", report.command


def output_of(report: Report) -> str:
    """Return the last lines of output, as they may be shown on a terminal."""
    lines = [_cut(printable(line, kept="\t"), _LONGEST_LINE) for line in report.output]
    return "\n".join(["...", *lines] if report.is_output_cut and lines else lines)


def body_of(message: Message) -> str:
    """Return all that a message says below its title."""
    several = len(message.reports) > 1
    return "\n\n\n".join(_part(report, has_title=several) for report in message.reports) + "\n"


def _part(report: Report, *, has_title: bool) -> str:
    parts = [title_of_report(report)] if has_title else []
    parts.append(facts_of(report))
    if output := output_of(report):
        indented = "\n".join(f"  {line}" if line else "" for line in output.split("\n"))
        parts.append(f"last lines of output:\n{indented}")
    return "\n\n".join(parts)


def plain_text(message: Message) -> str:
    """Return a message as text: the title, then everything else."""
    return f"{title_of(message)}\n\n{body_of(message)}"


def _shown(at_ns: int) -> str:
    return wall_time(at_ns, None).isoformat(" ", "seconds")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
