"""What monitoring is told, as plain data, in portions: with 100,000 jobs no portion delays a start.

A portion is answered within one turn of the loop. The names of the jobs are noted when a collection begins,
so that none comes twice and none is left out, whatever becomes of the jobs meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.conditions import Reach
from taskman_cli.core.engine.snapshot import executor_rows
from taskman_cli.core.engine.tallies import JobTally

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.timetable import ArmedJob

#: Jobs in one portion: about half a millisecond.
PORTION = 200
#: Collections that go on at the same time; the oldest of more must begin again.
MOST_COLLECTIONS = 8

#: A job: name; runs that succeeded, failed and were cancelled; its last success and next slot (wall clock)
#: and the duration of its last run in nanoseconds, or None; whether it is parked, and paused.
JobRow = tuple[str, int, int, int, int | None, int | None, int | None, bool, bool]

_NO_RUNS = JobTally()


class Figures:
    """Gives out the figures of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last = 0
        #: The names of each collection that goes on, the oldest first.
        self._names: dict[int, list[str]] = {}

    def begin(self, now: Now) -> int:
        """Begin a collection, and return its number, which no other scheduler gives to one."""
        self._last = max(self._last + 1, now.wall_ns)
        self._names[self._last] = list(self._engine.timetable.jobs)
        if len(self._names) > MOST_COLLECTIONS:
            del self._names[next(iter(self._names))]
        return self._last

    def jobs(self, number: int, start: int) -> tuple[list[JobRow], int | None] | None:
        """Return the jobs from `start` on, and where the next portion begins, or None after the last.

        None as a whole: this collection was given up. One-off jobs are left out: they come and go, and a
        series of each would stay in the memory of whoever collects them.
        """
        names = self._names.get(number)
        if names is None:
            return None
        jobs, engine = self._engine.timetable.jobs, self._engine
        tallies = engine.metrics.tallies
        rows = [
            self._row(armed, tallies.jobs.get(name), tallies.success_of(name))
            for name in names[start : start + PORTION]
            if (armed := jobs.get(name)) is not None and not armed.job.is_once
        ]
        end = start + PORTION
        if end < len(names):
            return rows, end
        del self._names[number]
        return rows, None

    @staticmethod
    def _row(armed: ArmedJob, tally: JobTally | None, success_ns: int | None) -> JobRow:
        tally = tally or _NO_RUNS
        slot_ns = armed.slot_ns if armed.job.enabled else None
        return (
            armed.job.id, tally.succeeded, tally.failed, tally.cancelled, success_ns, slot_ns,
            tally.duration_ns, armed.park is not None, armed.pause is not None,
        )  # fmt: skip

    def whole(self, now: Now) -> dict[str, Any]:
        """Return what is not about single jobs."""
        engine, tallies = self._engine, self._engine.metrics.tallies
        pool, timetable = engine.pool, engine.timetable
        busy = pool.busy_count
        target = pool.seats
        if pool.gate is not None:
            target = pool.target.value(now.elapsed_ns, pool.memory.tuning)
        resources = pool.resources
        return {
            "counters": engine.metrics.counts,
            "runs": {state.value: count for state, count in tallies.runs().items()},
            "slots": [
                ["run", "none", tallies.slots_run],
                *(["skipped", reason.value, count] for reason, count in tallies.slots_skipped.items()),
            ],
            "run_duration": tallies.durations.as_json(),
            "start_delay": tallies.delays.as_json(),
            "jobs": len(timetable.jobs),
            "parked": len(engine.parked),
            "busy": busy,
            "free": max(0, pool.seats - busy),
            "target": target,
            "executors": [
                [
                    row.name,
                    row.reach not in (Reach.CONNECTING, Reach.DOWN),
                    row.running,
                    row.waiting,
                    row.starts,
                    {state.value: count for state, count in row.ends},
                    row.restarts,
                    row.workers and [row.workers.count, row.workers.total.running, row.workers.total.slots],
                ]
                for row in executor_rows(engine)
            ],
            "resources": [
                [name, resources.held.get(name, 0), resources.limit_of(name)]
                for name in sorted(resources.known.keys() | resources.held.keys())
            ],
        }
