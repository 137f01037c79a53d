"""What the sinks are told: a report follows the record that it tells of, and is durable with it.

Nothing is done for a job whose sinks do not want to know. Trouble that goes on is told again after a time, as
each sink's `repeat` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.overdue import Overdue
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.model import GATE, Exit, SkipReason, State
from taskman_cli.core.sinks import ALL_OUTPUT, OF_THE_SCHEDULER, ReportKind, secret_variables
from taskman_cli.core.timespec import format_rough

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.events import JobsLoaded, JobsReloaded, OpenRun
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.runs import Attempt, Run
    from taskman_cli.core.engine.timetable import Timetable
    from taskman_cli.core.engine.view import Failing
    from taskman_cli.core.model import Job
    from taskman_cli.core.sinks import SinkDefinition

    Records = list[effects.Record | effects.Mark]

#: What each kind of trouble that may go on is called; the ends of runs that failed are one.
_TROUBLES = {
    ReportKind.FAILED: "failed",
    ReportKind.TIMED_OUT: "failed",
    ReportKind.LOST: "failed",
    ReportKind.SKIPPED: "skipped",
    ReportKind.RETRIED: "retried",
    ReportKind.DELAYED: "delayed",
    ReportKind.SLOW: "slow",
}
#: The detail of `scheduler_started` if the program goes on with another scheduler.
AGAIN = "again"
_ENDS = {
    State.SUCCEEDED: ReportKind.SUCCEEDED,
    State.FAILED: ReportKind.FAILED,
    State.TIMED_OUT: ReportKind.TIMED_OUT,
    State.LOST: ReportKind.LOST,
    State.CANCELLED: ReportKind.CANCELLED,
}
_FOLDED: frozenset[type] = frozenset(
    {effects.SlotsSkipped, effects.Commanded, effects.JobPaused, effects.JobRemoved}
)


class Reports:
    """Decides who is told of what."""

    def __init__(self, timetable: Timetable, outbox: Outbox, sinks: Iterable[SinkDefinition] = ()) -> None:
        self._timetable = timetable
        self._outbox = outbox
        self._sinks = {sink.name: sink for sink in sinks}
        #: Which sinks want each kind, by the names that a job has.
        self._plans: dict[tuple[str, ...], dict[ReportKind, list[SinkDefinition]]] = {}
        #: Trouble that goes on, by job, sink and trouble.
        self._series: dict[str, dict[tuple[str, str], effects.SeriesNoted]] = {}
        #: When runs become slow, on the elapsed clock.
        self.slow: DueQueue[str] = DueQueue()
        self._runs: dict[str, Run] = {}
        self._overdue = Overdue(timetable, outbox)
        #: When jobs become overdue, on the wall clock.
        self.overdue_queue = self._overdue.due
        #: Whether the records of a step have to be looked at.
        self.is_on = bool(self._sinks)

    # --- life ---

    @property
    def sinks(self) -> tuple[SinkDefinition, ...]:
        """Return the sinks in force."""
        return tuple(self._sinks.values())

    @property
    def secrets(self) -> frozenset[str]:
        """Return the environment variables that the sinks in force take secrets from."""
        return secret_variables(self._sinks.values())

    def load(self, event: JobsLoaded, now: Now) -> None:
        """Continue from what an earlier scheduler left on record."""
        for series in event.series:
            if series.job in self._timetable.jobs and series.sink in self._sinks:
                self._series.setdefault(series.job, {})[series.sink, series.trouble] = series
        self._overdue.load(event.known, now, step_ns=event.step_ns)
        self._look_again()

    def reload(self, sinks: Iterable[SinkDefinition]) -> bool:
        """Let these sinks be in force; tell whether anything has changed."""
        wanted = {sink.name: sink for sink in sinks}
        if wanted == self._sinks:
            return False
        self._sinks = wanted
        self._plans.clear()
        for job_id, series in list(self._series.items()):
            self._series[job_id] = {key: item for key, item in series.items() if key[0] in wanted}
        self._outbox.records.append(self.taken())
        self._look_again()
        return True

    def take_jobs(self, event: JobsReloaded, now: Now) -> None:
        """Expect successes of the jobs as they are defined now."""
        names = None if event.removed is None else [*event.removed, *(job.id for job in event.jobs)]
        self._overdue.take_jobs(now, names)
        self._look_again()

    def taken(self) -> effects.SinksTaken:
        """Return the mark that says which sinks there are."""
        return effects.SinksTaken(tuple(self._sinks))

    def restate(self) -> list[effects.Mark]:
        """Return marks of the whole, for an empty ledger."""
        series = [item for of_job in self._series.values() for item in of_job.values()]
        return [self.taken(), *series, *self._overdue.restate()]

    def _look_again(self) -> None:
        self.is_on = bool(self._sinks) or self._overdue.is_watching

    # --- time ---

    def overdue(self, now: Now) -> list[tuple[str, int]]:
        """Return the jobs that are overdue, and since when they did not succeed, the longest first."""
        return self._overdue.jobs(now)

    def tick(self, now: Now) -> None:
        """Tell of runs that are slow by now, and of jobs that are overdue."""
        for run_id in self.slow.pop_due(now.elapsed_ns):
            run = self._runs.pop(run_id)
            self._outbox.subject = run
            run.is_slow = True
            after_ns = run.job.policy.slow_after_ns or 0
            self._notice(ReportKind.SLOW, run.job, run, f"still runs after {format_rough(after_ns)}", now)
            self._outbox.subject = None
        for armed, since_ns in self._overdue.take_overdue(now):
            self._outbox.subject = armed.job.id
            words = f"no success for {format_rough(max(0, now.wall_ns - since_ns))}"
            self._notice(ReportKind.OVERDUE, armed.job, None, words, now)
            self._outbox.subject = None

    def clock_stepped(self, delta_ns: int) -> None:
        """Move the times of jobs with the clock."""
        self._overdue.clock_stepped(delta_ns)

    # --- runs ---

    def begun(self, attempt: Attempt, now: Now) -> None:
        """Tell that a run begins with this attempt, and how late."""
        run = attempt.run
        policy = run.job.policy
        if not policy.sinks and policy.delayed_after_ns is None:
            return
        if run.is_told or attempt.task.id == GATE:
            return
        run.is_told = True
        if policy.sinks:
            self._tell(
                ReportKind.STARTED, run.job, now, run=run.id, task=attempt.task.id, attempt=attempt.number,
                slot_ns=run.slot_ns, started_ns=now.wall_ns,
            )  # fmt: skip
        late_ns = now.wall_ns - run.due_ns
        if policy.delayed_after_ns is not None and late_ns > policy.delayed_after_ns:
            words = f"began {format_rough(late_ns)} late"
            self._notice(ReportKind.DELAYED, run.job, run, words, now)

    def running(self, attempt: Attempt) -> None:
        """Watch a run that has a process for how long it takes."""
        run = attempt.run
        slow_after_ns = run.job.policy.slow_after_ns
        if slow_after_ns is None or run.is_slow or run.id in self._runs or attempt.task.id == GATE:
            return
        self._runs[run.id] = run
        self.slow.put(run.id, attempt.began_elapsed_ns + slow_after_ns)

    def retried(self, run: Run, end: effects.AttemptFinished, now: Now) -> None:
        """Tell that another attempt follows."""
        if run.job.policy.sinks:
            self._tell(ReportKind.RETRIED, run.job, now, run=run.id, slot_ns=run.slot_ns, **_of_end(end))

    def held(self, run: Run) -> None:
        """Watch a run no more that has to begin anew, since its process did not become the command."""
        if not run.has_process and all(task == GATE for task in run.ended):
            self.over(run)

    def over(self, run: Run) -> None:
        """Watch a run no more."""
        if self._runs.pop(run.id, None) is not None:
            self.slow.remove(run.id)

    def finished(self, run: Run, before: Failing | None, now: Now) -> None:
        """Tell how a run has ended; `before`: the failed runs of its job before it."""
        job, policy = run.job, run.job.policy
        is_success = run.state is State.SUCCEEDED
        if is_success and policy.expect_every_ns is not None:
            self._overdue.succeeded(job.id, now)
        if not policy.sinks:
            return
        facts = _of_run(run)
        self._tell(_ENDS[run.state], job, now, **facts)
        if not is_success:
            return
        if before is not None:
            count = before.failures
            words = f"after {count:,} failed run{'' if count == 1 else 's'}"
            self._notice(ReportKind.RECOVERED, job, run, words, now, facts)
        if job.id in self._series:
            self._end_series(job, run)

    def closed(self, job: Job, run: OpenRun, state: State, why: str, now: Now) -> None:
        """Tell that a run of an earlier scheduler is over without going on."""
        if job.policy.sinks:
            self._tell(
                _ENDS[state], job, now, run=run.run, slot_ns=run.slot_ns, state=str(state), detail=why
            )  # fmt: skip

    # --- what other parts of the engine have recorded ---

    def added_to(self, records: Records, now: Now) -> Records:
        """Return the records of a step with reports of slots that are skipped, and of parked jobs."""
        found: Records = []
        for record in records:
            found.append(record)
            if type(record) in _FOLDED:
                self._fold(record, now)
                found += self._outbox.take()[0]
        return found

    def _fold(self, record: effects.Record | effects.Mark, now: Now) -> None:
        match record:
            case effects.SlotsSkipped():
                if armed := self._timetable.jobs.get(record.job):
                    self._tell(
                        ReportKind.SKIPPED, armed.job, now, skip=record.reason, more=record.count or 1,
                        run=record.run or "", slot_ns=record.first_ns, state=str(State.SKIPPED),
                        reason=str(record.reason), detail=record.detail,
                    )  # fmt: skip
            case effects.Commanded(kind="parked", job=str(job_id)):
                if armed := self._timetable.jobs.get(job_id):
                    self._tell(
                        ReportKind.PARKED, armed.job, now, run=record.run or "", detail=record.detail
                    )  # fmt: skip
            case effects.JobPaused(pause=None):
                self._overdue.succeeded(record.job, now)
            case effects.JobPaused():
                self._overdue.paused(record.job)
            case effects.JobRemoved():
                self._series.pop(record.job, None)

    def about_scheduler(self, record: effects.SchedulerNoted) -> effects.Reported | None:
        """Return the report of something that happened to the scheduler itself, if anybody wants it."""
        kind = _OF_SCHEDULER.get(record.kind)
        if kind is None or record.detail == AGAIN:  # the program was started before
            return None
        to = tuple((name, 1) for name, sink in self._sinks.items() if kind in sink.on)
        return effects.Reported(kind, to, detail=record.detail) if to else None

    # --- telling ---

    def _notice(
        self, kind: ReportKind, job: Job, run: Run | None, words: str, now: Now,
        facts: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Record what no other record tells, and tell it."""
        slot_ns = run.slot_ns if run else None
        run_id = run.id if run else None
        self._outbox.records.append(effects.Noticed(kind, job.id, run_id, slot_ns, words))
        known = facts or {"run": run_id or "", "slot_ns": slot_ns}
        self._tell(kind, job, now, **known | {"detail": words})

    def _tell(
        self, kind: ReportKind, job: Job, now: Now, *, skip: SkipReason | None = None, more: int = 1,
        run: str = "", **facts: Any,
    ) -> None:  # fmt: skip
        """Tell the sinks of a job, those that want to know now."""
        to = []
        lines = 0
        for sink in self._wanting(job, kind):
            if skip is not None and not sink.wants(kind, skip):
                continue
            if kind is ReportKind.STARTED and sink.waits_for_ends and _may_say_not_now(job):
                continue
            if sink.output_lines == ALL_OUTPUT and not _has_output(facts):
                continue
            if count := self._count(sink, job.id, kind, run, more, now):
                to.append((sink.name, count))
                lines = max(lines, sink.output_lines)
        if to:
            self._outbox.records.append(effects.Reported(kind, tuple(to), lines, job.id, run=run, **facts))

    def _wanting(self, job: Job, kind: ReportKind) -> Iterable[SinkDefinition]:
        names = job.policy.sinks
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plans[names] = {}
            for sink in (self._sinks[name] for name in names if name in self._sinks):
                for one in ReportKind:
                    if one not in OF_THE_SCHEDULER and sink.wants(one):
                        plan.setdefault(one, []).append(sink)
        return plan.get(kind, ())

    def _count(self, sink: SinkDefinition, job: str, kind: ReportKind, run: str, more: int, now: Now) -> int:
        """Return how many a sink is told of now; 0: it is told later."""
        trouble = _TROUBLES.get(kind)
        if trouble is None or sink.repeat_ns == 0:
            return more
        key = (sink.name, trouble)
        of_job = self._series.setdefault(job, {})
        known = of_job.get(key)
        told_ns, untold = now.wall_ns, more
        if known is not None:
            untold += known.untold
            is_due = sink.repeat_ns is not None and not 0 <= now.wall_ns - known.told_ns < sink.repeat_ns
            if not is_due:
                told_ns = known.told_ns
        is_told = known is None or told_ns != known.told_ns
        series = effects.SeriesNoted(job, *key, told_ns, 0 if is_told else untold, run)
        of_job[key] = series
        self._outbox.records.append(series)
        return untold if is_told else 0

    def _end_series(self, job: Job, run: Run) -> None:
        """End what a success ends: failures, and with `repeat = "first"` what the run was without."""
        of_job = self._series[job.id]
        for (name, trouble), series in list(of_job.items()):
            if trouble == "failed" or (self._sinks[name].repeat_ns is None and series.run != run.id):
                del of_job[name, trouble]
                self._outbox.records.append(effects.SeriesOver(job.id, name, trouble))
        if not of_job:
            del self._series[job.id]


_OF_SCHEDULER = {str(kind): kind for kind in OF_THE_SCHEDULER}


def _may_say_not_now(job: Job) -> bool:
    """Tell whether a run that has begun may be skipped, since a command of the job can say "not now"."""
    return any(task.execution.skip_exit_codes for task in job.tasks)


def _has_output(facts: dict[str, Any]) -> bool:
    """Tell whether anything was printed, for a sink that is about that alone."""
    end = facts.get("exit")
    return isinstance(end, Exit) and end.output_bytes > 0


def _of_end(end: effects.AttemptFinished) -> dict[str, Any]:
    """Return what is told of an attempt that is over."""
    started_ns = None if end.duration_ns is None else end.ended_ns - end.duration_ns
    return {
        "task": end.task, "attempt": end.attempt, "state": str(end.state), "detail": end.detail,
        "exit": end.exit, "started_ns": started_ns, "ended_ns": end.ended_ns, "duration_ns": end.duration_ns,
    }  # fmt: skip


def _of_run(run: Run) -> dict[str, Any]:
    """Return what is told of a run that is over: of several tasks, that which decided how it ended."""
    ends = _own_ends(run)
    end = next((end for end in ends if end.state is run.state), ends[-1] if ends else None)
    facts: dict[str, Any] = {"run": run.id, "slot_ns": run.slot_ns, "state": str(run.state)}
    if end is None:
        return facts | {"detail": run.detail}
    facts = _of_end(end) | facts | {"detail": run.detail or end.detail}
    if len(ends) > 1:
        starts = [end.ended_ns - end.duration_ns for end in ends if end.duration_ns is not None]
        ended_ns = max(end.ended_ns for end in ends)
        started_ns = min(starts, default=None)
        duration_ns = None if started_ns is None else max(0, ended_ns - started_ns)
        facts |= {"started_ns": started_ns, "ended_ns": ended_ns, "duration_ns": duration_ns}
    return facts


def _own_ends(run: Run) -> list[effects.AttemptFinished]:
    """Return the ends of a run's tasks; that of `only_if` only if there is no other."""
    return [end for task, end in run.ended.items() if task != GATE] or [*run.ended.values()]
