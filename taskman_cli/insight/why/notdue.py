"""Why a moment is no slot of a job: the fields that do not match, the rhythm, the limits, a clock change."""

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
    """Why a moment is no slot, as far as the schedule says."""

    #: For a cron expression: each field beside the moment.
    comparison: Comparison | None
    #: Limits of the job that the moment lies outside of.
    before_start_ns: int | None
    after_end_ns: int | None
    #: The clocks leave the moment out, or show it twice.
    change: Change | None
    #: It is the second pass of a time that comes twice.
    is_second_pass: bool


def explain_not_due(calendar: Calendar, asked: TimeQuery) -> NotDue:
    """Say why a moment is no slot."""
    job, policy = calendar.job, calendar.job.policy
    schedule = job.schedule
    comparison = None
    if isinstance(schedule, CronSchedule):
        expression = parse_expression(schedule.text, name=job.id)
        has_second = asked.has_second and (asked.wall.second > 0 or len(schedule.text.split()) == 6)
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
