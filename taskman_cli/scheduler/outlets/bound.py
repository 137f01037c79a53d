"""How many reports may wait for a sink: the oldest go if there are more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects
from taskman_cli.scheduler.logs.loggers import sink_log as logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.ledger.reportqueue import ReportQueue
    from taskman_cli.scheduler.outlets.state import SinkState


def keep_within(
    state: SinkState, queue: ReportQueue, note: Callable[[effects.Record | effects.Mark], None]
) -> bool:
    """Drop the oldest reports if too many wait; tell whether that is to be recorded. Raises QueueError."""
    keep = state.definition.keep
    if state.waiting <= keep + keep // 100:
        return False
    name = state.name
    surplus = state.waiting - keep
    seq = queue.line_at(name, state.cursor, surplus)
    if seq is None:
        return False
    words = f"{name}: the oldest {surplus:,} report{'s' if surplus > 1 else ''}, as more than {keep:,} wait"
    if not state.is_overfull:
        state.is_overfull = True
        logger.error("sink %s; more go until it works again", words, extra={"sink": name})
    state.waiting -= surplus
    note(effects.SinkMoved(name, seq))
    note(effects.SchedulerNoted("reports_dropped", words))
    return True
