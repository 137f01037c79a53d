"""What to do about the answer: what a failure mostly means, and what to type next."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.limits import OVER_MEMORY
from taskman_cli.core.model import GATE, SkipReason, State
from taskman_cli.insight.why.slotresult import NoRecordReason, Ran, Skipped, ToCome, Unrecorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.insight.why.diagnosis import Diagnosis
    from taskman_cli.insight.why.facts import AttemptFacts, RunFacts

#: Ends of a run that are to be repaired.
_BAD_ENDS = (State.FAILED, State.TIMED_OUT, State.LOST)
#: A program that ends by one of these has a fault.
_FAULTS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
)
#: The beginnings of the supervisor's words for a program that is not there, or cannot be run.
_NOT_FOUND = ("not found:", "exit 127: command not found")
_NOT_EXECUTABLE = ("not executable:", "permission denied:", "cannot be started:", "exit 126: not executable")


#: What works only as long as there is the job: a one-off that is over is there no more.
_OF_A_JOB = tuple(f"taskman {command} " for command in ("test", "trigger", "resume", "show"))


class Advice(NamedTuple):
    """One thing to do."""

    #: What to type; "": nothing.
    command: str
    words: str


def advice(diagnosis: Diagnosis, *, task: str | None = None) -> list[Advice]:
    """Return what to do about a diagnosis; `task` is the one that was asked about."""
    found = [*_advice(diagnosis, task)]
    if diagnosis.calendar.facts.removed_ns is None:
        return found
    return [one for one in found if not one.command.startswith(_OF_A_JOB)]


def _advice(diagnosis: Diagnosis, task: str | None) -> Iterator[Advice]:
    slot, name = diagnosis.slot, diagnosis.calendar.job.id
    if slot is None or diagnosis.not_due is not None or isinstance(slot.result, ToCome):
        return
    if diagnosis.scheduler.is_running is False:
        yield Advice("taskman run FILE", "starts a scheduler: none runs now")
    match slot.result:
        case Ran(run=run, waits=waits):
            if run.ended_ns is None and any(wait.kind == "executor" for wait in waits):
                yield Advice("taskman status --executors", "shows how the executors stand")
            yield from _of_run(run, name, task, is_running=diagnosis.scheduler.is_running is not False)
        case Skipped(skip=skip):
            yield from _of_skip(skip.reason, name, skip.blocker_id)
        case Unrecorded(reason=reason) if reason in (NoRecordReason.NOT_ACCOUNTED, NoRecordReason.NO_RECORD):
            yield Advice("taskman doctor", "checks the scheduler and its ledger")
        case _:
            yield Advice(f"taskman history {name}", "shows what is on record")


def _of_run(run: RunFacts, name: str, task: str | None, *, is_running: bool) -> Iterator[Advice]:
    """Advise on a run."""
    target = f"{run.id}.{task}" if task else run.id
    has_output = any(attempt.output_bytes for attempt in run.attempts if task in (None, attempt.task))
    if run.ended_ns is None:
        if run.state == State.RUNNING:
            yield Advice(f"taskman log -f {target}", "follows its output")
            yield Advice(f"taskman cancel {run.id}", "ends it")
        else:
            yield Advice("taskman status", "shows what the workers do")
            yield Advice(f"taskman cancel {run.id}", "takes it out of the queue")
        return
    if run.state in _BAD_ENDS:
        for attempt in _telling(run, task):
            yield from _cause(attempt, name)
        if run.state == State.LOST:
            yield Advice("", "on_crash of the job says whether a run that was lost is repeated")
    if has_output:
        yield Advice(f"taskman log {target}", "prints the whole output")
    if run.state in _BAD_ENDS:
        yield Advice(f"taskman test {name}", "runs it here and now, in the scheduler's environment")
    if is_running and run.state != State.SUCCEEDED:
        yield Advice(f"taskman trigger {name}", "runs it again now")


def _telling(run: RunFacts, task: str | None) -> list[AttemptFacts]:
    """Return the last attempt that ended as the run did, if there is one."""
    found = [attempt for attempt in run.attempts if task in (None, attempt.task)]
    return [attempt for attempt in found if attempt.state == run.state][-1:] or found[-1:]


def _cause(attempt: AttemptFacts, name: str) -> Iterator[Advice]:
    """Say what mostly causes such an end, and the way out."""
    if attempt.output_error:
        yield Advice("", "some output was lost: see whether the disk is full")
    if attempt.state == State.TIMED_OUT:
        key = "only_if_timeout" if attempt.task == GATE else "timeout"
        yield Advice("", f"it ran longer than its `{key}`: see what it waited for, or raise `{key}`")
    elif attempt.state == State.FAILED and attempt.detail.startswith(_NOT_FOUND):
        yield Advice(
            "",
            "the command is not on the job's PATH, which, as in cron, is not that of your shell: write its "
            'whole path, or set `env = { PATH = "…" }`',
        )
    elif attempt.state == State.FAILED and attempt.detail.startswith(_NOT_EXECUTABLE):
        yield Advice(
            "", "see that the file may be executed (chmod +x) and that its first line names a program"
        )
    elif attempt.state == State.FAILED and OVER_MEMORY in attempt.detail:
        yield Advice("", "raise `limits.memory`, or see what it needs so much memory for")
    elif attempt.state == State.FAILED and attempt.signal is not None:
        yield from _of_signal(attempt.signal)


def _of_signal(number: int) -> Iterator[Advice]:
    """Say what mostly sends a signal that taskman did not send."""
    if number == signal.SIGKILL:
        yield Advice(
            "journalctl -k", "shows whether the kernel killed it for want of memory: taskman did not"
        )
    elif number in _FAULTS:
        yield Advice("", "the program has crashed: the fault is in it or in what it was given")
    else:
        yield Advice("", "taskman did not send that signal: another program or a person did")


def _of_skip(reason: str, name: str, blocker: str | None) -> Iterator[Advice]:
    """Advise on a slot without a run."""
    match reason:
        case SkipReason.OVERLAP:
            if blocker is not None:
                yield Advice(f"taskman why {blocker}", "tells what became of the run in its way")
            yield Advice("", '`overlap = "queue"` lets such slots wait, and `timeout` ends runs that hang')
        case SkipReason.PAUSED:
            yield Advice(f"taskman resume {name}", "ends the pause, if it is still paused")
        case SkipReason.NOT_NOW:
            yield Advice("", "its command said that it is not the time, by a code of `skip_exit_codes`")
        case SkipReason.ONLY_IF:
            yield Advice(f"taskman show {name}", "shows the command of `only_if`, which said no")
        case SkipReason.PARKED:
            yield Advice(f"taskman history {name} --state failed", "shows the runs that failed")
            yield Advice(f"taskman resume {name}", "lets it run again")
        case SkipReason.DISABLED:
            yield Advice("taskman reload", "after `enabled = true` in the job file")
        case SkipReason.MISSED:
            yield Advice("", "`on_missed` says which missed slots are caught up on")
        case SkipReason.LATE:
            yield Advice("", "`start_deadline` says how late a slot may start; more workers start it sooner")
    yield Advice(f"taskman trigger {name}", "runs it now")
