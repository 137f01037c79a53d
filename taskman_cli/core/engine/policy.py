"""The rules that decide, as functions of their arguments: jitter, missed slots, retry, how an end counts."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.limits import over_memory
from taskman_cli.core.model import OnCrash, OnMissed, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.model import Execution, Exit, Job, Policy, Retry, Task


def spread_ns(width_ns: int, *names: object) -> int:
    """Return a delay in [0, width] that is derived from the names, and evenly spread over names.

    Without a random source the core stays pure, and a restart changes no delay.
    """
    if width_ns <= 0:
        return 0
    from hashlib import blake2b  # 2 MB, and only jitter needs it

    text = "\0".join(map(str, names))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") % (width_ns + 1)


class Sorted(NamedTuple):
    """Slots that have passed, sorted into those that get a run and those that do not."""

    #: Reached in time: each is a slot like any other.
    on_time: list[int]
    #: Reached late but still wanted: each is a catch-up.
    catch_up: list[int]
    missed: list[int]


def sort_passed(
    passed: Sequence[tuple[int, int]], *, wall_ns: int, policy: Policy, missed_after_ns: int
) -> Sorted:
    """Sort slots that are due, as (slot, due) ascending by slot, by how late they are reached.

    A slot is missed when it is reached more than `missed_after_ns` after it was due. `on_missed` then says
    whether none, the latest or all of the missed ones are made up for, and `start_deadline` how old one may
    be for that.
    """
    on_time = [slot for slot, due in passed if wall_ns - due <= missed_after_ns]
    wanted: list[int] = []
    if policy.on_missed is not OnMissed.SKIP:
        wanted = [
            slot
            for slot, due in passed
            if wall_ns - due > missed_after_ns and not is_late(due, wall_ns=wall_ns, policy=policy)
        ]
        if policy.on_missed is OnMissed.ONCE:
            # A slot in time already stands for those before it.
            wanted = [] if on_time else wanted[-1:]
    taken = {*on_time, *wanted}
    return Sorted(on_time, wanted, [slot for slot, _ in passed if slot not in taken])


#: A larger step back corrects a wrong clock: the new time holds at once (as in Debian's cron).
MAX_STEP_BACK_NS = 3 * 3600 * SECOND_NS


def is_clock_put_back(before_ns: int, wall_ns: int) -> bool:
    """Tell whether an instant of the past lies so far ahead that the clock must have been wrong then."""
    return before_ns - wall_ns > MAX_STEP_BACK_NS


def is_late(due_ns: int, *, wall_ns: int, policy: Policy) -> bool:
    """Tell whether it is too late for a start that was due then."""
    return policy.start_deadline_ns is not None and wall_ns - due_ns > policy.start_deadline_ns


def judge(end: Exit, execution: Execution) -> State:
    """Return the state of a process that ended by itself; LOST for an orphan, whose exit code is unknown."""
    exit_code = end.exit_code
    if exit_code is None and end.signal is None:
        return State.FAILED if end.error else State.LOST
    if execution.skip_exit_codes and exit_code in execution.skip_exit_codes:
        return State.SKIPPED
    return State.SUCCEEDED if exit_code in execution.success_exit_codes else State.FAILED


#: How often the attempts of one run are run again because they were lost: a command that crashes the machine
#: must not do so for ever.
MAX_RERUNS = 3


def pause_after_ns(
    key: str, state: State, *, job: Job, task: Task, number: int, end: Exit | None, lost: int
) -> int | None:
    """Return the pause before the attempt that follows attempt `key`, or None if none follows.

    `end` is None if there was no process, or its end was not seen; `lost` counts the run's lost attempts.
    """
    if state is State.LOST and end is None:
        return 0 if job.policy.on_crash is OnCrash.RERUN and lost <= MAX_RERUNS else None
    if state not in (State.FAILED, State.TIMED_OUT):
        return None
    exit_code = end.exit_code if end and state is State.FAILED else None
    return retry_pause_ns(task.execution.retry, attempt=number, exit_code=exit_code, seed=key)


def retry_pause_ns(retry: Retry, *, attempt: int, exit_code: int | None, seed: str) -> int | None:
    """Return the pause after attempt number `attempt` (from 1) has failed, or None if that was the last.

    `exit_code` is None after a signal, a timeout or a failed start.
    """
    if attempt > retry.max:
        return None
    if retry.exit_codes is not None and exit_code not in retry.exit_codes:
        return None
    try:
        pause_ns = min(int(retry.delay_ns * retry.backoff ** (attempt - 1)), retry.max_delay_ns)
    except OverflowError:
        pause_ns = retry.max_delay_ns
    return pause_ns + spread_ns(retry.jitter_ns, seed, attempt)


#: What the kernel's counters of kills for want of memory tell of a command that was killed.
_FOR_MEMORY = {
    "cgroup": " (out of memory)",
    "machine": " (probably out of memory: the kernel killed a process for that)",
}
#: What the exit codes mean that a shell itself returns (POSIX, 2.8.2).
_SHELL_CODES = {126: "exit 126: not executable", 127: "exit 127: command not found"}


def describe(end: Exit, *, is_shell: bool) -> str:
    """Say in words how a process ended."""
    if end.error:
        return end.error
    if end.exit_code is None and end.signal is None:
        return "exit code unknown: its supervisor had died"
    for_memory = _FOR_MEMORY.get(end.memory, "")
    if end.over_memory_bytes:
        for_memory = f" ({over_memory(end.over_memory_bytes)})"
    if end.signal is not None:
        try:
            words = f"killed by {signal.Signals(end.signal).name}"
        except ValueError:
            words = f"killed by signal {end.signal}"
        return words + (" (core dumped)" if end.has_core else for_memory)
    if is_shell and end.exit_code in _SHELL_CODES:
        return _SHELL_CODES[end.exit_code]
    return f"exit {end.exit_code}{for_memory}"


def low_load(cpus: int) -> float:
    """Return the load below which one-off jobs of `--batch` start, as in Debian's batch(1)."""
    return 0.8 * cpus
