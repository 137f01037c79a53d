"""Why a time is not a slot of a job: fields that do not match, the interval, limits, a clock change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.schedule import CronSchedule
from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.core.schedule.matching import compare

if TYPE_CHECKING:
    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.core.schedule.matching import Comparison
    from taskman_cli.insight.why.slots import Calendar
    from taskman_cli.insight.why.timequery import TimeQuery


@dataclass(frozen=True, slots=True)
class NotDue:
    """Why a time is not a slot, according to the schedule and its limits."""

    #: For a cron expression: each field compared with the time.
    comparison: Comparison | None
    #: The limits of the job that exclude the time.
    before_start_ns: int | None
    after_end_ns: int | None
    #: The clock change that skips or repeats the time.
    change: Change | None
    #: The time is the second pass of a repeated wall time.
    is_second_pass: bool


def explain_not_due(calendar: Calendar, asked: TimeQuery) -> NotDue:
    """Work out why a time is not a slot."""
    job, policy = calendar.job, calendar.job.policy
    schedule = job.schedule
    comparison = None
    if isinstance(schedule, CronSchedule):
        expression = parse_expression(schedule.text, name=job.id)
        has_second = asked.has_second and (asked.wall.second > 0 or expression.has_second)
        comparison = compare(expression, asked.wall, has_second=has_second)
    change = asked.change
    starts_at_ns, expires_at_ns = policy.starts_at_ns, policy.expires_at_ns
    return NotDue(
        comparison,
        starts_at_ns if starts_at_ns is not None and asked.at_ns < starts_at_ns else None,
        expires_at_ns if expires_at_ns is not None and asked.at_ns >= expires_at_ns else None,
        change,
        change is not None and not change.is_gap and asked.at_ns >= change.at_ns,
    )
