"""Folds records into what the views count: counters and the latest results."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.tallies import Tallies
from taskman_cli.core.engine.view import Counters, ResultRow
from taskman_cli.core.model import GATE, SkipReason, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: How many results are remembered for a view; more than any screen has lines.
RECENT = 200


#: Skips that come again and again, and would hide the other results.
UNSHOWN = (SkipReason.DISABLED, SkipReason.PARKED)


class Metrics:
    """Counts what the records say."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Counters.__dataclass_fields__, 0)
        #: What monitoring is told.
        self.tallies = Tallies()
        #: The latest results, as records until somebody looks at them: most are never shown.
        self._recent: deque[ResultRow | effects.AttemptFinished | effects.SlotsSkipped] = deque(maxlen=RECENT)
        self._error: Exception | None = None
        self._folds: dict[type, Callable[[Any], None]] = {
            effects.AttemptBegun: self._begun,
            effects.AttemptSpawned: self.tallies.spawned,
            effects.AttemptWithdrawn: self._withdrawn,
            effects.AttemptFinished: self._finished,
            effects.RunFinished: self.tallies.finished,
            effects.SlotsSkipped: self._skipped,
            effects.JobRemoved: lambda record: self.tallies.forget(record.job),
            effects.SpawnDelayed: self._delayed,
        }

    def resume(self, counts: Mapping[str, object], recent: Iterable[ResultRow]) -> None:
        """Continue with the counts of an earlier scheduler of this supervisor, and the results on record."""
        for name in self._counts:
            count = counts.get(name)
            if isinstance(count, int):
                self._counts[name] = count
        self._recent.extend(recent)

    @property
    def counts(self) -> dict[str, int]:
        """Return the counts so far by name, for the next scheduler."""
        return self._counts.copy()

    def fold(self, records: Iterable[effects.Effect]) -> None:
        """Count records; other effects count nothing. What cannot be counted ends no scheduler."""
        folds = self._folds
        for record in records:
            fold = folds.get(type(record))
            if fold is not None:
                try:
                    fold(record)
                except Exception as error:
                    self._error = error

    def take_error(self) -> Exception | None:
        """Return why a record could not be counted, once; None: all were."""
        error, self._error = self._error, None
        return error

    def _begun(self, record: effects.AttemptBegun) -> None:
        self._counts["started"] += record.is_start

    def _withdrawn(self, _: effects.AttemptWithdrawn) -> None:
        # An attempt that an earlier supervisor started was not counted here.
        self._counts["started"] = max(0, self._counts["started"] - 1)

    def _finished(self, record: effects.AttemptFinished) -> None:
        if record.state is State.SKIPPED:  # the skip of its run counts
            return
        self._counts[str(record.state)] += 1
        if record.retry_in_ns is not None:
            self._counts["retried"] += 1
        if record.task != GATE or record.state is not State.SUCCEEDED:  # or the run goes on
            self._recent.append(record)

    def _skipped(self, record: effects.SlotsSkipped) -> None:
        if record.is_owed:  # no scheduler was running: this one did not skip it
            return
        self._counts["skipped"] += record.count or 1
        self.tallies.skipped(record)
        if record.reason not in UNSHOWN:
            self._recent.append(record)

    def _delayed(self, _: effects.SpawnDelayed) -> None:
        self._counts["spawn_waits"] += 1

    def counters(self) -> Counters:
        """Return the counts so far."""
        return Counters(**self._counts)

    def recent(self) -> tuple[ResultRow, ...]:
        """Return the latest results, newest last."""
        rows = tuple(map(_row, self._recent))
        self._recent = deque(rows, maxlen=RECENT)
        return rows


def _row(result: ResultRow | effects.AttemptFinished | effects.SlotsSkipped) -> ResultRow:
    match result:
        case effects.AttemptFinished():
            return ResultRow(
                job=result.job,
                task=result.task,
                run=result.run,
                attempt=result.attempt,
                state=result.state,
                ended_ns=result.ended_ns,
                duration_ns=result.duration_ns,
                detail=result.detail,
            )
        case effects.SlotsSkipped():
            return _skipped(result)
        case _:
            return result


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
        detail=skip_words(record.reason, count),
    )


def skip_words(reason: str, count: int) -> str:
    """Say why some slots were skipped, and how many; 0: too many to count."""
    return reason if count == 1 else f"{reason} ({count or 'many'} slots)"
