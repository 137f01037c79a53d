"""What follows from a record besides actions: log lines, and the removal of old output and rows."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.answers import MOST_NAMED, idle_jobs
from taskman_cli.core.engine.runs import attempt_key
from taskman_cli.core.model import Output, SkipReason, State
from taskman_cli.scheduler.logs.loggers import job_log, logger, notice, run_log
from taskman_cli.scheduler.logs.messages import log_finished, log_record
from taskman_cli.scheduler.output_files import KEPT_OUTPUTS, MAX_ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.view import Counters
    from taskman_cli.core.model import Job, Policy
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.output_files import Outputs
    from taskman_cli.scheduler.workers import Workers


class FollowUp:
    """Gets each record once: when it is durable, or when it is clear that it cannot be written."""

    def __init__(self, driver: EngineDriver, workers: Workers, outputs: Outputs, timezone: tzinfo) -> None:
        self._timetable = driver.engine.timetable
        self._workers = workers
        self._outputs = outputs
        self._ledger = ledger = driver.ledger
        self._log = partial(log_record, timezone=timezone)
        kinds: list[type] = [
            effects.SpawnDelayed, effects.ClockStepNoted, effects.SuspendNoted, effects.AttemptAdopted,
            effects.JobsTaken, effects.AttemptStopped, effects.AttemptContinued, effects.AttemptStuck,
            effects.SurvivorsFound, effects.Commanded, effects.Noticed,
        ]  # fmt: skip
        self._is_debug = False
        #: What to do with each kind of record: log it, and note what it makes too old to keep.
        self.told: dict[type, Callable[[Any], None]] = dict.fromkeys(kinds, self._log)
        self.told |= {
            effects.AttemptFinished: self._attempt_finished,
            effects.RunFinished: self._run_finished,
            effects.SlotsSkipped: self._skipped,
            effects.JobRemoved: lambda _: ledger.note_departed(),
        }

        driver.follow(self.told)
        self._driver = driver
        self.look_at_levels()

    def look_at_levels(self) -> None:
        """Follow what only `debug` shows only while it is shown: each of these costs a start something."""
        is_debug = run_log.isEnabledFor(logging.DEBUG)
        if is_debug != self._is_debug:
            self._is_debug = is_debug
            change = self._driver.follow if is_debug else self._driver.unfollow
            change(dict.fromkeys((effects.RunQueued, effects.AttemptBegun), self._log))

    def _skipped(self, record: effects.SlotsSkipped) -> None:
        self._log(record)
        if job := self._job(record.job):
            self._note_kept(job.id, job.policy)
            if record.run is not None and record.reason in (SkipReason.NOT_NOW, SkipReason.ONLY_IF):
                self._note_output(job, record.run)

    def _run_finished(self, record: effects.RunFinished) -> None:
        if self._is_debug or record.detail or record.undone:
            self._log(record)
        job = self._job(record.job)
        if job is None:
            return
        self._note_kept(job.id, job.policy)
        self._note_output(job, record.run)

    def _note_output(self, job: Job, run: str) -> None:
        if any(task.execution.output is Output.CAPTURE for task in job.commands):
            # Also if there was no output: a process left in the background may still write.
            self._outputs.note_run(job.id, run, keep_runs=job.policy.keep_runs or KEPT_OUTPUTS)

    def _attempt_finished(self, record: effects.AttemptFinished) -> None:
        key = attempt_key(record.run, record.task, record.attempt)
        has_output = record.exit is not None and record.exit.output_bytes > 0
        log_finished(record, self._outputs.path(record.job, key) if has_output else "")
        job = self._job(record.job)
        for task in job.commands if job else ():
            if task.id == record.task and task.execution.output is Output.CAPTURE:
                if record.attempt > MAX_ATTEMPTS:
                    self._outputs.note_attempt(record.job, key)
                if record.state is State.LOST and record.exit is None:
                    self._workers.settle(record.job, key, task.execution)

    def _job(self, name: str) -> Job | None:
        armed = self._timetable.jobs.get(name)
        return armed.job if armed else None

    def _note_kept(self, job: str, policy: Policy) -> None:
        self._ledger.note_kept(job, keep_runs=policy.keep_runs, keep_for_ns=policy.keep_for_ns)


def warn_of_idlers(engine: Engine) -> None:
    """Warn about enabled jobs that will never run."""
    idle = idle_jobs(engine)
    for job_id in idle[:MOST_NAMED]:
        job_log.warning("%s: no slot will ever come", job_id, extra={"job": job_id})
    if len(idle) > MOST_NAMED:
        job_log.warning("no slot will ever come for %s more", counted(len(idle) - MOST_NAMED, "job"))


def counted(count: int, thing: str) -> str:
    """Format a count with its noun: "1 job", "2,000 jobs"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def log_stopped(counters: Counters) -> None:
    """Log what this life of the program has done."""
    names = ("started", "succeeded", "failed", "timed_out", "cancelled", "skipped")
    words = ", ".join(f"{getattr(counters, name)} {name.replace('_', ' ')}" for name in names)
    notice(logger, f"stopped: {words}", event="scheduler_stopped")
