"""The model of the ledger: what the real one keeps, in dictionaries, and the laws that records must obey."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unit.simulated_sinks import Told

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import Amounts, Job, SkipReason, State, Trigger
from taskman_cli.core.schedule import Once
from taskman_cli.ledger.standing import OpenAttemptRow, OpenRunRow
from taskman_cli.ledger.store import LedgerBroken, LedgerUnwritable

if TYPE_CHECKING:
    from collections.abc import Iterable

Record = effects.Record | effects.Mark

OPEN = (State.QUEUED, State.RUNNING)


@dataclass
class Attempt:
    """A row of the model's table of attempts."""

    supervisor: int
    begun_ns: int
    state: State = State.RUNNING
    pid: int | None = None
    started: Now | None = None
    ended_ns: int | None = None
    next_ns: int | None = None
    ending: State | None = None
    told: Now | None = None
    stopped: Now | None = None
    stopped_ns: int = 0
    holds: Amounts = ()
    handle: str = ""


@dataclass
class Run:
    """A row of the model's table of runs."""

    queued: effects.RunQueued
    state: State = State.QUEUED
    is_cancelled: bool = False
    #: When its job was due, as it was queued.
    definition: str = ""
    #: By how much the clock was set while it waited.
    moved_ns: int = 0
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)


def is_elapsed(definition: str) -> bool:
    """Tell whether the slots of a definition count elapsed time, and move with the clock."""
    return "every_ns" in definition and "starts_at_ns" not in definition


class Disk:
    """The model of the ledger: what the real one keeps, in dictionaries."""

    def __init__(self) -> None:
        self.is_full = False
        self.is_broken = False
        self.set_aside = None
        #: When records came to be, however much later they could be written; by identity, with the record.
        self.made: dict[int, tuple[Record, int]] = {}
        #: One-off jobs that somebody cancelled.
        self.unwanted: set[str] = set()
        self.supervisor = 0
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self.accounted_ns: int | None = None
        #: Jobs whose slots are accounted for by another instant.
        self.decided: dict[str, int] = {}
        self.boot: str | None = None
        self.life: int | None = None
        self.offset_ns: int | None = None
        self.jobs: dict[str, events.JobStanding] = {}
        #: All definitions that were ever in force: job, definition, since, until, anchor.
        self.epochs: list[list[Any]] = []
        #: Jobs that were removed, and when.
        self.removals: list[tuple[str, int]] = []
        self.last_run = 0
        self.runs: dict[str, Run] = {}
        self.rates: dict[str, Now] = {}
        self.needs: dict[tuple[str, str], int] = {}
        self.skips: list[effects.SlotsSkipped] = []
        #: Of jobs that are defined no more, too.
        self.run_counts: dict[str, int] = {}
        self.hidden: dict[str, effects.JobHidden] = {}
        #: One-off jobs that are not over, and how many runs each has had.
        self.once: dict[str, Job] = {}
        self.once_names: set[str] = set()
        self.once_runs: dict[str, list[str]] = {}
        self.commanded: list[effects.Commanded] = []
        #: The run that begins to try a parked job, until that is on record.
        self.tried: dict[str, str] = {}
        self.told = Told()

    def replace(self, _why: str, _now: Now) -> None:
        """Begin anew, as with a file that was set aside."""
        self.is_broken = False
        self.clear()

    def write(self, records: Iterable[Record], now: Now) -> None:
        """Make records durable, all or none."""
        if self.is_full:
            raise LedgerUnwritable("disk is full")
        if self.is_broken:
            raise LedgerBroken("malformed")
        for record in records:
            self._apply(record, now)

    def _apply(self, record: Record, now: Now) -> None:
        if self.told.note(record):
            return
        match record:
            case effects.JobExpected():
                self._change(record.job, expected=record if record.since_ns is not None else None)
            case effects.RunQueued():
                assert record.run not in self.runs, "a run is queued once"
                known = self.jobs.get(record.job)
                self.runs[record.run] = Run(record, definition=known.definition if known else "")
                if known and known.failures and (park := known.failures.park):
                    # Not one that is told to a new ledger, or that somebody asked for.
                    is_new = decode_run_id(record.run) > self.last_run
                    if is_new and record.trigger is not Trigger.MANUAL:
                        assert park.until_ns is not None, "a parked job has no new runs"
                        self.tried[record.job] = record.run
                # A job of that name that was taken out before may have runs that are not over.
                once = self.once.get(record.job)
                if once and isinstance(once.schedule, Once) and record.slot_ns == once.schedule.at_ns:
                    self.once_runs[record.job].append(record.run)
                    assert len(self.once_runs[record.job]) == 1, "a one-off job runs once"
            case effects.RunFinished():
                run = self.runs[record.run]
                assert run.state in OPEN, "a run ends once"
                assert all(attempt.state not in OPEN for attempt in run.attempts.values())
                run.state = record.state
            case effects.RunCancelling():
                self.runs[record.run].is_cancelled = True
            case effects.SlotsSkipped():
                self.skips.append(record)
                if record.run is not None:
                    run = self.runs[record.run]
                    assert run.state in OPEN, "a run ends once"
                    is_said = record.reason in (SkipReason.NOT_NOW, SkipReason.ONLY_IF)
                    assert is_said == bool(run.attempts), "a run that has begun is skipped if it says so"
                    states = {attempt.state for attempt in run.attempts.values()}
                    assert not is_said or State.SKIPPED in states, "what says so is on record"
                    assert not states & {*OPEN}, "what runs has no end yet"
                    run.state = State.SKIPPED
            case _:
                self._apply_to_attempt(record, now)

    def _apply_to_attempt(self, record: Record, now: Now) -> None:
        match record:
            case effects.AttemptBegun():
                run = self.runs[record.run]
                assert (record.task, record.attempt) not in run.attempts, "an attempt begins once"
                assert run.state in OPEN, "nothing begins in a run that is over"
                run.attempts[record.task, record.attempt] = Attempt(
                    self.supervisor, now.wall_ns, holds=record.holds, handle=record.handle
                )
                run.state = State.RUNNING
            case effects.AttemptWithdrawn():
                run = self.runs[record.run]
                del run.attempts[record.task, record.attempt]
                if not run.attempts:
                    run.state = State.QUEUED
            case effects.AttemptSpawned():
                attempt = self.runs[record.run].attempts[record.task, record.attempt]
                attempt.pid, attempt.started = record.pid, record.started
            case effects.AttemptStopped():
                attempt = self.runs[record.run].attempts[record.task, record.attempt]
                assert attempt.state in OPEN, "what is over is not stopped"
                attempt.stopped = record.at
            case effects.AttemptContinued():
                attempt = self.runs[record.run].attempts[record.task, record.attempt]
                assert record.stopped_ns >= attempt.stopped_ns, "no time that it was stopped is lost"
                attempt.stopped, attempt.stopped_ns = None, record.stopped_ns
            case effects.AttemptEnding():
                attempt = self.runs[record.run].attempts[record.task, record.attempt]
                told, at = attempt.told, record.at
                is_same = told == at or (attempt.handle and told and told.wall_ns == at.wall_ns)
                assert told is None or is_same, "nobody is told twice"
                attempt.ending, attempt.told = record.state, record.at
            case effects.AttemptFinished():
                attempt = self.runs[record.run].attempts[record.task, record.attempt]
                assert attempt.state in OPEN, "an attempt ends once"
                assert attempt.stopped is None, "what has ended is not stopped"
                attempt.state, attempt.ended_ns = record.state, record.ended_ns
                if record.retry_in_ns is not None:
                    attempt.next_ns = record.ended_ns + record.retry_in_ns
            case _:
                self._apply_to_job(record, now)

    def _apply_to_job(self, record: Record, now: Now) -> None:
        match record:
            case effects.JobArmed():
                self._end_epoch(record, now)
                self.epochs.append([record.job, record.definition, record.since_ns, None, record.anchor_ns])
                known = self.jobs.get(record.job)
                self.jobs[record.job] = events.JobStanding(
                    record.definition, record.since_ns, record.anchor_ns, self.run_counts.get(record.job, 0),
                    pause=known.pause if known else None, taken_ns=record.taken_ns,
                    failures=known.failures if known else None, expected=known.expected if known else None,
                )  # fmt: skip
            case effects.JobRezoned():
                self._change(record.job, definition=record.definition)
            case effects.JobRemoved():
                self.removals.append((record.job, self._end_epoch(record, now)))
                del self.jobs[record.job]
                self.told.forget(record.job)
            case effects.JobPaused():
                if is_elapsed(self.jobs[record.job].definition):  # it stands still
                    self._end_epoch(record, now)
                self._change(record.job, pause=record.pause)
            case effects.RunsCounted():
                self.run_counts[record.job] = record.count
                self._change(record.job, run_count=record.count)
            case effects.IntervalEnded():
                self._change(record.job, finish_ns=record.finish_ns)
            case effects.ClockStepNoted():
                self._move(record, now)
                for name, known in self.jobs.items():
                    if is_elapsed(known.definition):
                        by_ns = max(self.accounted_ns or 0, self.decided.get(name, 0))
                        since_ns = max(known.since_ns, by_ns) + record.delta_ns
                        anchor_ns = known.anchor_ns + record.delta_ns
                        finish_ns = None if known.finish_ns is None else known.finish_ns + record.delta_ns
                        self._change(name, anchor_ns=anchor_ns, since_ns=since_ns, finish_ns=finish_ns)
                    else:
                        self._change(name, since_ns=min(known.since_ns, now.wall_ns))
                    if record.delta_ns < -MAX_STEP_BACK_NS:
                        self._change(name, taken_ns=None)
            case _:
                self._apply_to_whole(record, now)

    def _apply_to_whole(self, record: Record, now: Now) -> None:
        match record:
            case effects.Accounted():
                self.accounted_ns, self.offset_ns = record.until_ns, now.wall_ns - now.elapsed_ns
                self.decided = {
                    job: until_ns
                    for job, until_ns in self.decided.items()
                    if until_ns > record.until_ns and not record.is_anew
                }
            case effects.SlotsDecided():
                self.decided.update(dict.fromkeys(record.jobs, record.until_ns))
            case effects.LifeBegun():
                self.boot, self.life = record.boot, record.supervisor
                self.offset_ns = now.wall_ns - now.elapsed_ns
            case effects.FailuresNoted():
                self._note_failures(record)
            case effects.RunsNumbered():
                self.last_run = record.last_run
            case effects.JobHidden():
                self.hidden.pop(record.job, None)
                if record.tasks or record.is_all:
                    self.hidden[record.job] = record
            case effects.OnceAdded():
                known = self.once.get(record.job.id)
                assert known is None or known.tasks == record.job.tasks, "a name is one job's"
                self.once[record.job.id] = record.job
                self.once_names.add(record.job.id)
                self.once_runs.setdefault(record.job.id, [])
            case effects.OnceOver():
                del self.once[record.job]
                runs = [self.runs[run] for run in self.once_runs.pop(record.job)]
                assert runs or record.job in self.unwanted, "a one-off job is not lost"
                self.unwanted.discard(record.job)
                assert all(run.state not in OPEN for run in runs), "a one-off job goes with its run"
            case effects.Commanded():
                self.commanded.append(record)
                if record.kind == "cancelled" and record.run is None and record.job is not None:
                    self.unwanted.add(record.job)
            case _:
                self._apply_to_pool(record, now)

    def _apply_to_pool(self, record: Record, now: Now) -> None:
        match record:
            case effects.RateUsed():
                full_ns = record.full_elapsed_ns
                self.rates[record.resource] = Now(full_ns + now.wall_ns - now.elapsed_ns, full_ns)
            case effects.NeedLearned():
                self.needs[record.job, record.task] = record.need_bytes
            case _:
                pass

    def _note_failures(self, record: effects.FailuresNoted) -> None:
        tried = self.tried.pop(record.job, None)
        park = record.failures.park if record.failures else None
        assert tried is None or (park and park.trial == tried), "one run tries a parked job"
        self._change(record.job, failures=record.failures)

    def _move(self, record: effects.ClockStepNoted, now: Now) -> None:
        self.offset_ns = now.wall_ns - now.elapsed_ns
        for run in self.runs.values():
            if run.state is State.QUEUED:
                run.moved_ns += record.delta_ns

    def _change(self, job: str, **values: Any) -> None:
        if job in self.jobs:
            self.jobs[job] = replace(self.jobs[job], **values)

    def _end_epoch(self, record: effects.JobArmed | effects.JobRemoved | effects.JobPaused, now: Now) -> int:
        _, made_ns = self.made.get(id(record), (record, now.wall_ns))
        for epoch in self.epochs:
            if epoch[0] == record.job and epoch[3] is None:
                epoch[3] = made_ns
        return made_ns

    def open_rows(self) -> list[OpenRunRow]:
        """Return the runs that are not over, as the real ledger would."""
        return [
            OpenRunRow(
                name, run.queued.job, run.queued.slot_ns, run.queued.trigger, run.is_cancelled,
                tuple(
                    OpenAttemptRow(
                        task, number, attempt.state, attempt.supervisor, attempt.begun_ns, attempt.pid,
                        attempt.started, attempt.ended_ns, attempt.next_ns, attempt.ending, attempt.told,
                        attempt.stopped, attempt.stopped_ns, attempt.holds, attempt.handle,
                    )
                    for (task, number), attempt in sorted(run.attempts.items())
                ),
                run.queued.task, dict(run.queued.params), run.moved_ns,
                name in self.told.slow, name in self.told.told,
            )
            for name, run in sorted(self.runs.items())
            if run.state in OPEN
        ]  # fmt: skip
