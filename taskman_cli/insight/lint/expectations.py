"""A job that is expected to succeed more often than it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.timespec import format_duration

if TYPE_CHECKING:
    from taskman_cli.core.model import Job

#: So many slots are looked at: a job of each five minutes in working hours has 500 from Monday to Friday.
_SLOTS = 600


def expected_too_soon(job: Job, now_ns: int) -> tuple[str, str] | None:
    """Say that a job is overdue between two slots, and what to do; None: it is not."""
    expect_ns = job.policy.expect_every_ns
    if expect_ns is None or job.is_once:
        return None
    armed = ArmedJob.of(job, since_ns=now_ns, anchor_ns=now_ns)
    slot_ns = armed.slot_ns
    for _ in range(_SLOTS):
        if slot_ns is None:
            break
        next_ns = armed.slot_after(slot_ns)
        if next_ns is not None and next_ns - slot_ns >= expect_ns:
            apart, expected = format_duration(next_ns - slot_ns), format_duration(expect_ns)
            return (
                f"slots are up to {apart} apart, so the job is overdue between them (expect_every = "
                f'"{expected}")',
                "let expect_every be longer than the longest time between two slots and a run",
            )
        slot_ns = next_ns
    return None
