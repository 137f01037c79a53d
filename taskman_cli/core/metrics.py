"""Folds records into what the views count: counters and the latest results."""

from __future__ import annotations

from collections import deque

from taskman_cli.core import effects
from taskman_cli.core.model import Counters, ResultRow, SkipReason, State

#: How many results are remembered for a view; more than any screen has lines.
RECENT = 200


class Metrics:
    """Counts what the records say."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Counters.__dataclass_fields__, 0)
        self._recent: deque[ResultRow] = deque(maxlen=RECENT)

    def fold(self, record: effects.Effect) -> None:
        """Take one record into account; other effects count nothing."""
        counts = self._counts
        match record:
            case effects.AttemptBegun():
                counts["started"] += record.is_start
            case effects.AttemptWithdrawn():
                # One that an earlier scheduler began was not counted here.
                counts["started"] = max(0, counts["started"] - 1)
            case effects.AttemptFinished():
                counts[record.state.value] += 1
                if record.retry_in_ns is not None:
                    counts["retried"] += 1
                self._recent.append(
                    ResultRow(
                        job=record.job,
                        task=record.task,
                        run=record.run,
                        attempt=record.attempt,
                        state=record.state,
                        ended_ns=record.ended_ns,
                        duration_ns=record.duration_ns,
                        detail=record.detail,
                    )
                )
            case effects.SlotsSkipped():
                counts["skipped"] += record.count or 1
                if record.reason is not SkipReason.DISABLED:
                    self._recent.append(_skipped(record))
            case effects.SpawnDelayed():
                counts["spawn_waits"] += 1
            case _:
                pass

    def counters(self) -> Counters:
        """Return the counts so far."""
        return Counters(**self._counts)

    def recent(self) -> tuple[ResultRow, ...]:
        """Return the latest results, newest last."""
        return tuple(self._recent)


def _skipped(record: effects.SlotsSkipped) -> ResultRow:
    count = record.count or 0
    return ResultRow(
        job=record.job,
        task="main",
        run=record.run or "",
        attempt=1,
        state=State.SKIPPED,
        ended_ns=record.last_ns,
        duration_ns=0,
        detail=record.reason if count == 1 else f"{record.reason} ({count or 'many'} slots)",
    )
