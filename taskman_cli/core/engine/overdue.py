"""Jobs that are expected to succeed again and again: which of them are overdue (`expect_every`).

The time counts from the last success, or from when the job was first expected. It is elapsed time, so it
moves with the clock, and it goes on while no scheduler runs. A job that is paused or disabled, or has no more
slots, is not expected. It is told once that a job is overdue, until the next success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.queue import DueQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.events import JobStanding
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable


class Overdue:
    """Knows since when each job is expected to succeed."""

    def __init__(self, timetable: Timetable, outbox: Outbox) -> None:
        self._timetable = timetable
        self._outbox = outbox
        self._expected: dict[str, effects.JobExpected] = {}
        #: Those of which it was told that they are overdue.
        self._told: set[str] = set()
        #: When each job becomes overdue, on the wall clock.
        self.due: DueQueue[str] = DueQueue()

    @property
    def is_watching(self) -> bool:
        """Tell whether any job is expected."""
        return bool(self._expected)

    def load(self, known: Mapping[str, JobStanding], now: Now, *, step_ns: int) -> None:
        """Continue from what is on record, after a step of the clock."""
        for job_id, standing in known.items():
            expected = standing.expected
            if expected is None or expected.since_ns is None or job_id not in self._timetable.jobs:
                continue
            moved = _moved(expected, step_ns)
            assert moved.since_ns is not None
            if is_clock_put_back(moved.since_ns, now.wall_ns):  # the clock was wrong then
                moved = effects.JobExpected(job_id, now.wall_ns)
            self._keep(moved)
            if moved != expected:
                self._outbox.records.append(moved)
        self.take_jobs(now)

    def take_jobs(self, now: Now, names: Iterable[str] | None = None) -> None:
        """Expect what the definitions say, from now on: those of all jobs, or of some."""
        jobs = self._timetable.jobs
        if names is None:
            expecting = [
                job_id for job_id, armed in jobs.items() if armed.job.policy.expect_every_ns is not None
            ]
            names = dict.fromkeys([*self._expected, *expecting])
        for job_id in names:
            armed = jobs.get(job_id)
            is_known = job_id in self._expected
            if armed is None:
                if is_known:
                    self._drop(job_id)  # its removal is on record
            elif not armed.job.enabled or armed.job.policy.expect_every_ns is None or armed.job.is_once:
                if is_known:
                    self._drop(job_id)
                    self._outbox.records.append(effects.JobExpected(job_id, None))
            elif is_known:
                self._set(armed)
            else:
                self._note(armed, effects.JobExpected(job_id, now.wall_ns))

    def succeeded(self, job_id: str, now: Now) -> None:
        """Let the time of a job begin anew, after a success or a pause."""
        if job_id in self._expected:
            self._note(self._timetable.jobs[job_id], effects.JobExpected(job_id, now.wall_ns))

    def paused(self, job_id: str) -> None:
        """Expect nothing of a job while it is paused."""
        self.due.remove(job_id)

    def take_overdue(self, now: Now) -> list[tuple[ArmedJob, int]]:
        """Return the jobs that are overdue now, and since when they did not succeed; each once."""
        found = []
        for job_id in self.due.pop_due(now.wall_ns):
            armed, expected = self._timetable.jobs.get(job_id), self._expected[job_id]
            if armed is None or armed.is_used_up or not _is_open(armed, now):
                continue
            assert expected.since_ns is not None
            told = effects.JobExpected(job_id, expected.since_ns, now.wall_ns)
            self._keep(told)
            self._outbox.records.append(told)
            found.append((armed, expected.since_ns))
        return found

    def jobs(self, now: Now) -> list[tuple[str, int]]:
        """Return the jobs that are overdue, and since when they did not succeed, the longest first."""
        found = []
        for job_id in self._told:
            armed, since_ns = self._timetable.jobs.get(job_id), self._expected[job_id].since_ns
            if armed is None or armed.pause is not None or armed.is_used_up or not _is_open(armed, now):
                continue
            assert since_ns is not None
            if since_ns + (armed.job.policy.expect_every_ns or 0) <= now.wall_ns:  # or it is longer now
                found.append((since_ns, job_id))
        return [(job_id, since_ns) for since_ns, job_id in sorted(found)]

    def clock_stepped(self, delta_ns: int) -> None:
        """Move all times with the clock."""
        for job_id, expected in self._expected.items():
            self._note(self._timetable.jobs[job_id], _moved(expected, delta_ns))

    def restate(self) -> list[effects.Mark]:
        """Return marks of the whole, for an empty ledger."""
        return [*self._expected.values()]

    def _note(self, armed: ArmedJob, expected: effects.JobExpected) -> None:
        self._keep(expected)
        self._outbox.records.append(expected)
        self._set(armed)

    def _set(self, armed: ArmedJob) -> None:
        """Set when a job becomes overdue, unless it is told already or paused."""
        job_id = armed.job.id
        expected = self._expected[job_id]
        self.due.remove(job_id)
        if expected.told_ns is None and armed.pause is None:
            assert expected.since_ns is not None
            assert armed.job.policy.expect_every_ns is not None
            since_ns = max(expected.since_ns, armed.job.policy.starts_at_ns or 0)
            self.due.put(job_id, since_ns + armed.job.policy.expect_every_ns)

    def _keep(self, expected: effects.JobExpected) -> None:
        self._expected[expected.job] = expected
        if expected.told_ns is None:
            self._told.discard(expected.job)
        else:
            self._told.add(expected.job)

    def _drop(self, job_id: str) -> None:
        del self._expected[job_id]
        self._told.discard(job_id)
        self.due.remove(job_id)


def _is_open(armed: ArmedJob, now: Now) -> bool:
    """Tell whether a job still has slots, as far as `expires_at` says."""
    expires_at_ns = armed.job.policy.expires_at_ns
    return expires_at_ns is None or now.wall_ns < expires_at_ns


def _moved(expected: effects.JobExpected, delta_ns: int) -> effects.JobExpected:
    since_ns, told_ns = expected.since_ns, expected.told_ns
    return effects.JobExpected(
        expected.job,
        None if since_ns is None else since_ns + delta_ns,
        None if told_ns is None else told_ns + delta_ns,
    )
