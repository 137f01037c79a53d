"""Jobs that fail again and again: their failed runs are counted, and they are parked.

A parked job keeps its slots, and each is skipped, until it is resumed or its definition changes. With
`park_for` its first slot after that time is tried: the success of that run ends the park, and its failure
begins the time anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.fingerprint import fingerprint
from taskman_cli.core.model import OnCrash, State
from taskman_cli.core.pause import Failures, Park
from taskman_cli.core.protocol import LAST_NS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.runs import Run
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable
    from taskman_cli.core.model import Job, Policy

#: How many of the failed runs are remembered by their id.
MOST_RUNS = 5
_FAILED = (State.FAILED, State.TIMED_OUT, State.LOST)
#: The ends that change nothing if nothing has failed before.
_NEUTRAL = (State.SUCCEEDED, State.CANCELLED, State.SKIPPED)


class Parks:
    """Counts failures, and parks jobs and ends that."""

    def __init__(self, timetable: Timetable, outbox: Outbox) -> None:
        self._timetable = timetable
        self._outbox = outbox
        #: Names of the jobs that are parked; some may have been removed since.
        self._names: set[str] = set()

    def load(self, armed_jobs: Iterable[ArmedJob]) -> None:
        """Take over the parked jobs of an earlier scheduler."""
        self._names = {armed.job.id for armed in armed_jobs if armed.park}

    @property
    def jobs(self) -> list[ArmedJob]:
        """Return the parked jobs, by name."""
        known = self._timetable.jobs
        return [armed for name in sorted(self._names) if (armed := known.get(name)) and armed.park]

    def note_run(self, armed: ArmedJob, run: Run, now: Now) -> bool:
        """Count the end of a run, and return whether it parks its job."""
        if armed.failures is None and run.state in _NEUTRAL:
            return False
        if run.job is not armed.job and fingerprint(run.job) != fingerprint(armed.job):
            return False  # it tells nothing of what the job is now
        failed = [end for end in run.ended.values() if end.state in _FAILED and end.detail]
        detail = failed[-1].detail if failed else ""
        if failed and failed[-1].state is State.TIMED_OUT:  # or it is not said who has killed it
            detail = f"timed out: {detail}"
        return self.note_end(armed, run.id, run.state, is_lost=run.lost > 0, detail=detail, now=now)

    def note_end(
        self, armed: ArmedJob, run: str, state: State, *, is_lost: bool, detail: str, now: Now
    ) -> bool:
        """Count the end of a run in a state, and return whether it parks its job."""
        failures, park = armed.failures, armed.park
        if failures is None:
            if state not in _FAILED or not _is_counted(armed.job.policy):
                return False
            failures = Failures(0, (), fingerprint(armed.job))
        is_trial = park is not None and park.trial == run
        if state not in _FAILED:
            if state is not State.SUCCEEDED:  # it tells neither
                if park is not None and is_trial:
                    self._note(armed, replace(failures, park=replace(park, trial="")))
            elif park is None:
                self._note(armed, None)
            elif is_trial:
                self.end(armed, "taskman", now, why=f"run {run} has succeeded", run=run)
            else:
                self._note(armed, replace(failures, count=0, runs=()))
            return False
        failures = replace(failures, count=failures.count + 1, runs=(*failures.runs[1 - MOST_RUNS :], run))
        why = _why_parked(armed, failures, is_lost=is_lost, is_trial=is_trial, detail=detail)
        if why is None:
            self._note(armed, failures)
            return False
        park_for_ns = armed.job.policy.park_for_ns
        until_ns = None if park_for_ns is None else min(now.wall_ns + park_for_ns, LAST_NS)
        self._names.add(armed.job.id)
        self._note(armed, replace(failures, park=Park(now.wall_ns, why, until_ns)))
        self._outbox.records.append(effects.Commanded("parked", "taskman", armed.job.id, run, why))
        return True

    def try_with(self, armed: ArmedJob, run: Run) -> None:
        """Let the success of this run end the park."""
        assert armed.failures is not None
        assert armed.park is not None
        self._note(armed, replace(armed.failures, park=replace(armed.park, trial=run.id)))

    def end(self, armed: ArmedJob, by: str, now: Now, *, why: str = "", run: str | None = None) -> None:
        """End a park, and count failures from none."""
        self._names.discard(armed.job.id)
        self._note(armed, None)
        self._outbox.records.append(effects.Commanded("unparked", by, armed.job.id, run, why))

    def redefine(self, known: ArmedJob, armed: ArmedJob, now: Now) -> None:
        """Forget the failures of a definition that another one replaces: that of `armed`."""
        armed.failures = known.failures
        if known.park:
            self.end(armed, "taskman", now, why=CHANGED)
        elif known.failures:
            self._note(armed, None)

    def clock_stepped(self, delta_ns: int) -> None:
        """Move parks with the clock, so that their lengths stay the same."""
        for armed in self.jobs:
            self._outbox.subject = armed.job.id
            assert armed.failures is not None
            assert armed.park is not None
            self._note(armed, replace(armed.failures, park=_moved(armed.park, delta_ns)))
        self._outbox.subject = None

    def _note(self, armed: ArmedJob, failures: Failures | None) -> None:
        armed.failures = failures
        self._outbox.records.append(effects.FailuresNoted(armed.job.id, failures))


#: Why a park has ended.
CHANGED = "its definition has changed"


def failures_now(failures: Failures | None, job: Job, *, step_ns: int, now: Now) -> Failures | None:
    """Return the failures on record as they count for a job now: none of another definition."""
    if failures is None or failures.definition != fingerprint(job):
        return None
    if failures.park is None:
        return failures
    park = _moved(failures.park, step_ns)
    # A park that begins in the future was recorded by a clock that has been set back since.
    return replace(failures, park=_moved(park, min(0, now.wall_ns - park.since_ns)))


def _moved(park: Park, delta_ns: int) -> Park:
    """Return a park after a step of the clock; its end is not later than can be recorded."""
    moved = park.moved(delta_ns)
    return moved if moved.until_ns is None else replace(moved, until_ns=min(moved.until_ns, LAST_NS))


def _is_counted(policy: Policy) -> bool:
    """Tell whether failures of a job have consequences."""
    return policy.max_failures is not None or policy.on_crash is OnCrash.PARK


def _why_parked(
    armed: ArmedJob, failures: Failures, *, is_lost: bool, is_trial: bool, detail: str
) -> str | None:
    """Return why a failed run parks its job, in words, or None."""
    last = f" ({detail})" if detail else ""
    if is_trial:
        return f"its run failed again when it was tried{last}"
    if armed.park is not None:
        return None
    if is_lost and armed.job.policy.on_crash is OnCrash.PARK:
        return f"a run was lost{last}, and on_crash is park"
    most = armed.job.policy.max_failures
    if most is None or failures.count < most:
        return None
    if failures.count == 1:
        return f"a run failed{last}"
    return (
        f"{failures.count:,} runs in a row failed (the last: {detail})"
        if detail
        else (f"{failures.count:,} runs in a row failed")
    )
