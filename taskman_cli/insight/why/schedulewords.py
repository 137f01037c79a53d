"""Why a time is not a slot, in plain sentences: fields, interval, limits, clock changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import CronSchedule, Interval, Once, Reboot
from taskman_cli.core.schedule.fields import MONTH, WEEKDAY
from taskman_cli.core.schedule.matching import is_day_field
from taskman_cli.core.timespec import format_duration
from taskman_cli.insight.explain.listing import day_name
from taskman_cli.insight.why.contextwords import pause_words
from taskman_cli.insight.why.times import clock_time, jump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.core.schedule.matching import Comparison, Match
    from taskman_cli.insight.why.facts import JobFacts
    from taskman_cli.insight.why.notdue import NotDue
    from taskman_cli.insight.why.slots import Calendar
    from taskman_cli.insight.why.timequery import TimeQuery
    from taskman_cli.insight.why.times import Times

_ONE_VALUE = re.compile(r"[0-9]+|[A-Za-z]{3}")


def moment_words(asked: TimeQuery) -> str:
    """Write the queried time with the precision that it was typed with."""
    time = clock_time(asked.wall) if asked.has_second else f"{asked.wall:%H:%M}"
    return f"{day_name(asked.wall)} {time}"


def not_due_words(
    not_due: NotDue, calendar: Calendar, asked: TimeQuery, *, times: Times, now_ns: int
) -> Iterator[str]:
    """Yield sentences that explain why a time is not a slot."""
    name, schedule = calendar.job.id, calendar.job.schedule
    zone = f" {schedule.timezone} time" if isinstance(schedule, CronSchedule) else ""
    yield f"{name} is not due at {moment_words(asked)}{zone}."
    match schedule:
        case CronSchedule():
            yield from _cron(not_due, schedule, asked, calendar)
        case Interval():
            yield _interval(calendar, schedule, times=times)
        case Once():
            yield f"It has one slot, {times.slot(schedule.at_ns)}."
        case Reboot() if calendar.is_known:
            yield "It has no times: @reboot runs it once after each boot of the machine."
        case _:
            yield "Its schedule is no longer on record."
    if calendar.stands_still and calendar.facts.pause is not None:
        yield pause_words(calendar.facts.pause, is_still=True, times=times, now_ns=now_ns)
        return
    yield from limit_words(not_due, times=times)
    removed_ns, replaced_ns = calendar.facts.removed_ns, calendar.facts.replaced_ns
    if replaced_ns is not None:
        yield f"It was changed at {times.at(replaced_ns)}."
    elif removed_ns is None or asked.at_ns >= removed_ns:
        yield from over_words(calendar, times=times)


def limit_words(not_due: NotDue, *, times: Times) -> Iterator[str]:
    """Yield sentences about the limits of the job that exclude a time."""
    if not_due.before_start_ns is not None:
        yield f"It has no slot before its starts_at, {times.slot(not_due.before_start_ns)}."
    if not_due.after_end_ns is not None:
        yield f"It has no slot from its expires_at on, {times.slot(not_due.after_end_ns)}."


def over_words(calendar: Calendar, *, times: Times) -> Iterator[str]:
    """Yield a sentence that explains why a job has no more slots, if that is so."""
    facts = calendar.facts
    if calendar.is_once:
        if facts.removed_ns is not None and not calendar.is_used_up:
            yield f"It {gone_words(facts, times.at(facts.removed_ns), is_once=True)}."
    elif facts.removed_ns is not None:
        yield f"It {gone_words(facts, times.at(facts.removed_ns), is_once=False)}."
    elif calendar.is_used_up:
        yield f"It has used up its runs (max_runs = {calendar.job.policy.max_runs})."


def gone_words(facts: JobFacts, at: str, *, is_once: bool) -> str:
    """Say how a job was removed, as the end of a sentence; `at`: when."""
    by = f" by {facts.removed_by}" if facts.removed_by else ""
    if is_once:
        return f"was cancelled{by} at {at}"
    if facts.is_left_out:
        return f"was removed{by} at {at} (taskman remove): `taskman restore {facts.name}` brings it back"
    return f"was found to be removed from the job file at {at}"


def change_words(change: Change, asked: TimeQuery, schedule: CronSchedule) -> str:
    """Describe how a clock change affects a time and the schedule."""
    if change.is_gap:
        lead = f"But {_left_out(change, asked)}."
        if abs(change.shift_ns) > 3 * 3600 * SECOND_NS:
            return f"{lead} After a jump this large, nothing is caught up."
        if schedule.is_fixed:
            return (
                f"{lead} A schedule whose minute and hour do not start with * then runs once, "
                "at the first instant after the gap."
            )
        return f"{lead} A schedule whose minute or hour starts with * has no slot in the gap."
    lead = f"That day {asked.wall:%H:%M} comes twice: the clocks go back {jump(change)}."
    if abs(change.shift_ns) > 3 * 3600 * SECOND_NS or not schedule.is_fixed:
        return f"{lead} The schedule is due in both passes."
    return f"{lead} A schedule whose minute and hour do not start with * is due in the first pass only."


def _left_out(change: Change, asked: TimeQuery) -> str:
    return f"{asked.wall:%H:%M} does not exist that day: the clocks jump {jump(change)}"


# --- cron ---


def _cron(not_due: NotDue, schedule: CronSchedule, asked: TimeQuery, calendar: Calendar) -> Iterator[str]:
    comparison = not_due.comparison
    assert comparison is not None  # it is a cron expression
    if not comparison.is_match:
        be = "is" if calendar.facts.replaced_ns is None else "was"
        yield f'Its schedule {be} "{schedule.text}": {_failing(comparison)}.'
        if days := _day_rule(comparison):
            yield days
    change = not_due.change
    if change is None:
        return
    if not comparison.is_match:
        # The clock change is not the reason why the job does not run then.
        if change.is_gap:
            yield f"And {_left_out(change, asked)}."
        return
    yield f'Its schedule "{schedule.text}" would match.'
    yield change_words(change, asked, schedule)
    if not_due.is_second_pass and schedule.is_fixed:
        yield "This is the second pass."


def _failing(comparison: Comparison) -> str:
    """List the fields that do not match."""
    words = [f"{field.name} {_value(field)} is not {_wanted(field)}" for field in comparison.to_blame()]
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


def _value(field: Match) -> str:
    """Write a value, with its name if the field has names."""
    for kind in (MONTH, WEEKDAY):
        if field.name == kind.title:
            return f"{field.value} ({kind.names[field.value - kind.low].capitalize()})"
    return str(field.value)


def _wanted(field: Match) -> str:
    return field.expression if _ONE_VALUE.fullmatch(field.expression) else f"in {field.expression}"


def _day_rule(comparison: Comparison) -> str:
    """Explain how the two day fields combine, if both are restricted and that matters."""
    days = [field for field in comparison.fields if is_day_field(field)]
    if comparison.is_day_match or any(field.expression in ("*", "?") for field in days):
        return ""
    if comparison.is_both_days:
        return "Day of month and day of week must both match, since one of them starts with *."
    return "It is enough that day of month or day of week matches, since neither starts with *."


# --- the others ---


def _interval(calendar: Calendar, schedule: Interval, *, times: Times) -> str:
    every = format_duration(schedule.every_ns)
    if schedule.from_finish:
        end = calendar.facts.finish_ns
        last = "" if end is None else f"; the last one ended at {times.slot(end)}"
        return f"It runs {every} after the end of each run{last}."
    return f"It runs every {every}, counted from {times.slot(calendar.anchor_ns)}."
