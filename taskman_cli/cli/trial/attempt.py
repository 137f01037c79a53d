"""Run one attempt in the foreground, started as the supervisor starts it, with its output passed through."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.cli.support.terminal_filter import TerminalFilter
from taskman_cli.cli.trial.foreground import passing_on
from taskman_cli.core.engine.policy import judge
from taskman_cli.core.model import Exit, State
from taskman_cli.supervisor.asuser import NotBecome, hear_from_child
from taskman_cli.supervisor.closing import close_here, note_memory
from taskman_cli.supervisor.limiting import PREFIX, Limiter
from taskman_cli.supervisor.outofmemory import machine_kills
from taskman_cli.supervisor.program import StartError
from taskman_cli.supervisor.spawn import Spawner
from taskman_cli.supervisor.waitstatus import exit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taskman_cli.core.model import Execution
    from taskman_cli.supervisor.groups import Place

#: How long after the end the output of remaining child processes is shown.
_GRACE_S = 0.25
_READ_BYTES = 1 << 16
#: The name of the only attempt.
_KEY = "main"
#: What the names of the control groups of trials begin with, before the number of our process.
_PREFIX = f"{PREFIX}test-"


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of an attempt."""

    end: Exit
    state: State
    elapsed_ns: int
    #: The peak memory is that of this process when it started the command: the command's own is lower.
    is_peak_ours: bool

    @property
    def exit_code(self) -> int:
        """Return the command's exit code, or 128 plus the number of the signal that ended it."""
        return 128 + self.end.signal if self.end.signal is not None else self.end.exit_code or 0


def attempt(spec: Mapping[str, Any], execution: Execution, *, cwd: str, umask: int) -> Trial:
    """Run the command of `spec`, with this directory and umask unless it names its own.

    The directory and umask of this process stay changed. Raises StartError.
    """
    try:
        os.chdir(cwd)
    except OSError as error:
        reason = f"{error.strerror}: {cwd}, the directory that commands start in"
        raise StartError(error.errno or 0, reason) from error
    os.umask(umask)
    own_peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    user = spec.get("user")
    # Another user's command must not control our terminal; our own may.
    is_anothers = user is not None and user[0] != os.geteuid()
    limiter, limits = Limiter(f"{_PREFIX}{os.getpid()}-"), spec.get("limits") or {}
    keeps = bool(limits.get("keeps_orphans"))
    group = limiter.group(_KEY, keeps=keeps) if limiter.has_group(limits) else None
    if group is not None:
        _sweep(limiter.place)
    with passing_on() as target, _output(is_anothers=is_anothers) as relay:
        began_ns = time.monotonic_ns()
        kills_before = machine_kills() if limits else 0
        limit = limiter.limit(_KEY, limits, is_others=is_anothers) if limits else None
        try:
            pid, _, told = Spawner().start({**spec, "output": "inherit"}, now_ns=began_ns, limit=limit)
            relay.begin()
            target.aim(pid)
            if told is not None:
                _await_start(pid, told, execution)
        except StartError:
            if group is not None:
                close_here(group)
            raise
        is_timed_out = _await_end(pid, execution)
        # Reap it only now: until then the pid cannot be reused, so signals reach the right group.
        target.aim(None)
        _, status, usage = os.wait4(pid, 0)
        elapsed_ns = time.monotonic_ns() - began_ns
        payload: dict[str, Any] = {"status": status, "peak_rss_bytes": usage.ru_maxrss * 1024}
        if group is not None:
            is_risen = not group.is_ours and machine_kills() > kills_before
            report = close_here(group, keeps=keeps)
            note_memory(payload, report, limits.get("memory") or 0, is_risen=is_risen)
    end = Exit(
        *exit_of(status),
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * 1024,
        over_memory_bytes=payload.get("over_memory", 0),
    )
    state = State.TIMED_OUT if is_timed_out else judge(end, execution)
    return Trial(end, state, elapsed_ns, is_peak_ours=usage.ru_maxrss <= own_peak_kib)


def _sweep(place: Place) -> None:
    """Remove the empty groups of trials that are over."""
    for name in place.leftovers(_PREFIX):
        number = name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{number}").exists():
            place.group(name).remove()


def _await_start(pid: int, told: int, execution: Execution) -> None:
    """Wait until the process has executed the command, or `timeout` is over; raises StartError."""
    try:
        if _ends_within(told, execution.timeout_ns):
            hear_from_child(told)
    except NotBecome as error:
        os.waitpid(pid, 0)
        raise StartError(error.errno, str(error)) from None
    finally:
        os.close(told)


def _await_end(pid: int, execution: Execution) -> bool:
    """Wait for the end of a command; kill it after `timeout`. Return whether that was necessary."""
    fd = os.pidfd_open(pid)
    try:
        if _ends_within(fd, execution.timeout_ns):
            return False
        for signum, patience_ns in (
            (execution.kill_signal, execution.kill_timeout_ns),
            (signal.SIGKILL, None),
        ):
            with suppress(ProcessLookupError):
                os.killpg(pid, signum)
            if _ends_within(fd, patience_ns):
                break
    finally:
        os.close(fd)
    return True


def _ends_within(fd: int, patience_ns: int | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if patience_ns is None:
        return bool(poll.poll())
    until_ns = time.monotonic_ns() + patience_ns
    while (left_ns := until_ns - time.monotonic_ns()) > 0:
        # In stages: poll takes no more than 24 days at once.
        if poll.poll(min(left_ns // 1_000_000 + 1, 86_400_000)):
            return True
    return bool(poll.poll(0))


class _Relay:
    """Copies the output of a command to our own; the command writes to a pipe, as under the scheduler."""

    def __init__(
        self, pairs: list[tuple[int, int]], saved: list[tuple[int, int]], *, is_anothers: bool
    ) -> None:
        #: Our end of each pipe, and the terminal that it is copied to.
        self._pairs = pairs
        #: Each descriptor, and a copy of what it was before.
        self._saved = saved
        self._threads = [
            threading.Thread(
                target=_copy, args=(*pair, TerminalFilter() if is_anothers else None), daemon=True
            )
            for pair in pairs
        ]

    def begin(self) -> None:
        """Restore our own descriptors, and start to copy."""
        self.restore()
        for thread in self._threads:
            thread.start()

    def restore(self) -> None:
        """Restore our own descriptors."""
        while self._saved:
            fd, before = self._saved.pop()
            os.dup2(before, fd)

    def finish(self) -> None:
        """Copy the last output, but do not wait long for processes that keep the pipe open."""
        self.restore()
        until = time.monotonic() + _GRACE_S
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))


@contextmanager
def _output(*, is_anothers: bool) -> Iterator[_Relay]:
    """Replace each terminal that we write to by a pipe: commands of the scheduler have no terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    pairs: list[tuple[int, int]] = []
    saved: list[tuple[int, int]] = []
    for fd in (1, 2):
        if os.isatty(fd):
            read_end, write_end = os.pipe()
            before = os.dup(fd)
            os.dup2(write_end, fd)
            os.close(write_end)
            pairs.append((read_end, before))
            saved.append((fd, before))
    relay = _Relay(pairs, saved, is_anothers=is_anothers)
    try:
        yield relay
    finally:
        relay.finish()


def _copy(source: int, sink: int, screen: TerminalFilter | None) -> None:
    with suppress(OSError):  # the terminal is gone
        while data := os.read(source, _READ_BYTES):
            _write(sink, data if screen is None else screen.feed(data).encode())
        if screen is not None:
            _write(sink, screen.end().encode())


def _write(sink: int, data: bytes) -> None:
    while data:
        data = data[os.write(sink, data) :]
