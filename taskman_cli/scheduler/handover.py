"""What an earlier scheduler left unfinished, put together from the ledger and the supervisor.

The ledger has each run and attempt that has begun; the supervisor has its own children until their ends are
recorded. An attempt that this supervisor should have and does not know was never started: the scheduler died
between the record and the request. Attempts of an earlier supervisor are looked for in the process table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import events
from taskman_cli.core.engine.runs import attempt_key
from taskman_cli.core.model import State
from taskman_cli.scheduler.orphans import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from taskman_cli.ledger.standing import OpenAttemptRow, OpenRunRow
    from taskman_cli.scheduler.heard import Hello, SeenAttempt
    from taskman_cli.scheduler.orphans import Orphan

_UNFINISHED = (State.QUEUED, State.RUNNING)


def open_runs(
    rows: Iterable[OpenRunRow],
    hello: Hello,
    *,
    is_same_boot: bool,
    is_ledger_new: bool,
    now: Now,
    find: Callable[[Mapping[str, tuple[str, str]]], Mapping[str, Orphan]],
    over: Collection[str] = (),
    is_gone: Callable[[int], bool] = is_gone,
) -> tuple[tuple[events.OpenRun, ...], tuple[str, ...]]:
    """Return the runs that are not over, and the keys that the supervisor can forget.

    `find` returns the processes of attempts that exist, by key; it gets the job and task of each. `over` has
    runs that are recorded as over although a command of theirs still runs: they are not opened again.
    """
    rows = list(rows)
    seen = {attempt.key: attempt for attempt in hello.attempts}
    nameless = {
        attempt_key(run.run, attempt.task, attempt.number): (run.job, attempt.task)
        for run in rows
        for attempt in run.attempts
        if _is_orphan(attempt, hello) and attempt.pid is None and not attempt.handle
    }
    unseen = {key: whose for key, whose in nameless.items() if key not in seen}
    orphans = find(unseen) if is_same_boot else {}
    runs = []
    for run in rows:
        attempts = []
        for attempt in run.attempts:
            key = attempt_key(run.run, attempt.task, attempt.number)
            fate = _fate(attempt, seen.get(key), orphans.get(key), hello, now, is_same_boot=is_same_boot)
            if isinstance(fate, events.Going) and fate.is_orphan and fate.pid and is_gone(fate.pid):
                # Known now, and not only after the supervisor has looked, so that its run blocks no slot.
                fate = events.Gone()
            attempts.append(
                events.OpenAttempt(
                    attempt.task,
                    attempt.number,
                    fate,
                    attempt.stopped,
                    attempt.stopped_ns,
                    holds=attempt.holds,
                    handle=attempt.handle,
                )
            )
        attempts += _unknown(run, hello)
        attempts.sort(key=lambda attempt: attempt.number)
        runs.append(
            events.OpenRun(
                run.run,
                run.job,
                run.slot_ns,
                run.trigger,
                tuple(attempts),
                run.is_cancelled,
                run.task,
                run.params,
                moved_ns=run.moved_ns,
                is_slow=run.is_slow,
                is_told=run.is_told,
            )
        )
    known = {run.run for run in rows}
    known.update(over)
    strangers = [attempt for attempt in hello.attempts if attempt.run not in known]
    # A running command belongs to a run that is not over; if the ledger has none, it is a new ledger.
    lost = {seen.run for seen in strangers if is_ledger_new or isinstance(seen.fate, events.Going)}
    unrecorded = _unrecorded([attempt for attempt in strangers if attempt.run in lost])
    done = [attempt.key for attempt in strangers if attempt.run not in lost]
    done += [
        attempt_key(run.run, attempt.task, attempt.number)
        for run in rows
        for attempt in run.attempts
        if attempt.state not in _UNFINISHED
    ]
    done += [attempt.key for attempt in hello.attempts if attempt.run in over]
    return (*runs, *unrecorded), tuple(key for key in done if key in seen)


def left_running(hello: Hello, over: Collection[str]) -> list[tuple[str, str, str, int | None]]:
    """Return the running commands of runs that are recorded as over: key, run, job and pid of each."""
    return [
        (attempt.key, attempt.run, attempt.job, attempt.fate.pid)
        for attempt in hello.attempts
        if attempt.run in over and isinstance(attempt.fate, events.Going)
    ]


def _unknown(run: OpenRunRow, hello: Hello) -> list[events.OpenAttempt]:
    """Return the attempts of a run that only the supervisor knows, since a row of the ledger was lost."""
    known = {(attempt.task, attempt.number) for attempt in run.attempts}
    return [
        events.OpenAttempt(seen.task, seen.number, seen.fate, is_on_record=False, handle=seen.handle)
        for seen in hello.attempts
        if seen.run == run.run and (seen.task, seen.number) not in known
    ]


def _is_orphan(attempt: OpenAttemptRow, hello: Hello) -> bool:
    return attempt.state in _UNFINISHED and attempt.supervisor != hello.started_ns


def _fate(
    attempt: OpenAttemptRow,
    seen: SeenAttempt | None,
    orphan: Orphan | None,
    hello: Hello,
    now: Now,
    *,
    is_same_boot: bool,
) -> events.Told | events.Unstarted | events.Gone | events.Going | events.Over | events.StartFailed:
    if attempt.state not in _UNFINISHED:
        return events.Told(attempt.state, attempt.ended_ns or attempt.begun_ns, attempt.next_ns)
    told = attempt.told if is_same_boot else None  # the clock since boot starts from 0 again
    if attempt.told is not None and not is_same_boot and attempt.handle:
        told = _on_this_boot(attempt.told, now)  # where it runs, nothing was booted
    if seen is not None:
        if isinstance(seen.fate, events.Going):
            return replace(seen.fate, told=told, ending=seen.fate.ending or attempt.ending)
        return seen.fate
    if not _is_orphan(attempt, hello):
        if hello.is_complete:  # a process that never became its command is not kept
            return events.Unstarted(attempt.ending)
        if attempt.pid is None and not attempt.handle:
            return events.Gone()
    if attempt.handle:
        if not hello.has_executors:
            return events.Gone("the supervisor is of a version that has no executors")
        # Where it runs, it may have outlived even a restart of this machine.
        begun = attempt.started or Now(attempt.begun_ns, 0)
        started = begun if is_same_boot and attempt.started else _on_this_boot(begun, now)
        return events.Going(None, started, attempt.ending, is_orphan=True, told=told)
    if is_same_boot and attempt.pid is not None and attempt.started is not None:
        return events.Going(attempt.pid, attempt.started, attempt.ending, is_orphan=True, told=told)
    if orphan is not None:
        elapsed_ns = orphan.started_elapsed_ns
        wall_ns = now.wall_ns - now.elapsed_ns + elapsed_ns
        started = Now(wall_ns, elapsed_ns)
        return events.Going(orphan.pid, started, attempt.ending, is_orphan=True, told=told)
    return events.Gone()


def _on_this_boot(before: Now, now: Now) -> Now:
    """Return an instant of an earlier boot on the clocks of this one."""
    return Now(before.wall_ns, now.elapsed_ns - max(0, now.wall_ns - before.wall_ns))


def _unrecorded(strangers: Iterable[SeenAttempt]) -> list[events.OpenRun]:
    """Make runs from what only the supervisor knows, since the ledger was lost."""
    by_run: dict[str, list[SeenAttempt]] = {}
    for seen in strangers:
        by_run.setdefault(seen.run, []).append(seen)
    runs = []
    for run, found in by_run.items():
        first = found[0]
        attempts = tuple(
            events.OpenAttempt(seen.task, seen.number, seen.fate, handle=seen.handle) for seen in found
        )
        runs.append(
            events.OpenRun(run, first.job, first.slot_ns, first.trigger, attempts, is_on_record=False)
        )
    return runs
