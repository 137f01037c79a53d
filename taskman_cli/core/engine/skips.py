"""Records of slots without a run, and how their evidence is worded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.records import SlotsSkipped
from taskman_cli.core.timespec import format_rough

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.timetable import Stretch
    from taskman_cli.core.model import Job, SkipReason


def skipped(
    job: Job, stretch: Stretch, reason: SkipReason, detail: str, *, blocker: str | None = None
) -> SlotsSkipped:
    """Return the record of slots without a run."""
    return SlotsSkipped(
        job.id, stretch.first_ns, stretch.last_ns, stretch.count, reason, detail, blocker=blocker
    )


def how_late(due_ns: int, now: Now) -> str:
    """Say how long after it was due something is reached."""
    return f"reached {format_rough(now.wall_ns - due_ns)} late"
