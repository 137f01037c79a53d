"""`taskman once` without a scheduler: this process waits and runs the command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.render import day_and_time, note
from taskman_cli.cli.support.reply_times import in_seconds
from taskman_cli.core.engine.policy import low_load
from taskman_cli.errors import EXIT_COMMAND_NOT_FOUND, EXIT_NOT_EXECUTABLE
from taskman_cli.supervisor.asuser import reset_signals
from taskman_cli.ui.amounts import countdown
from taskman_cli.ui.terminal import can_draw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from types import FrameType

    from taskman_cli.core.protocol import RunOnce

_SECOND_NS = 1_000_000_000
#: The longest sleep: the clock may be set meanwhile, or the machine suspended.
_STAGE_S = 30.0
#: How often a high load is checked again.
_LOAD_POLL_S = 5.0
#: Signals that are meant for the command.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run_here(request: RunOnce, zone: tzinfo | None) -> int:
    """Wait for the time and the load, run the command, and return its exit code as a shell would."""
    if request.name is not None:
        note("the name has no effect: without a scheduler, nothing is recorded")
    if request.at_ns is not None:
        _wait_until(request.at_ns, zone)
    if request.batch:
        _wait_for_low_load()
    return _run(request)


def _wait_until(at_ns: int, zone: tzinfo | None) -> None:
    """Sleep until an instant on the wall clock, with a countdown on a terminal."""
    if at_ns <= time.time_ns():
        return
    at = day_and_time(in_seconds(at_ns, zone))
    if not can_draw(sys.stderr):
        note(f"waiting until {at}; Ctrl-C cancels it")
        while (left_ns := at_ns - time.time_ns()) > 0:
            time.sleep(min(left_ns / _SECOND_NS, _STAGE_S))
        return
    note(f"waiting until {at}; Ctrl-C cancels it")
    with _line_of_its_own():
        while (left_ns := at_ns - time.time_ns()) > 0:
            click.echo(f"\r{countdown(left_ns)}\x1b[K", err=True, nl=False)
            # Sleep until the next full second, so that the countdown shows each one.
            time.sleep(min(left_ns, left_ns % _SECOND_NS or _SECOND_NS) / _SECOND_NS)


def _wait_for_low_load() -> None:
    limit = low_load(os.cpu_count() or 1)
    if os.getloadavg()[0] < limit:
        return
    note(f"waiting for a load below {limit:.1f} (now {os.getloadavg()[0]:.1f}); Ctrl-C cancels it")
    while os.getloadavg()[0] >= limit:
        time.sleep(_LOAD_POLL_S)


@contextmanager
def _line_of_its_own() -> Iterator[None]:
    """Clear the line of the countdown, however the wait ends."""
    try:
        yield
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)


def _run(request: RunOnce) -> int:
    """Run the command in the session of our terminal, where the supervisor's Spawner gives it its own.

    It can open /dev/tty, and is under nohup(1) where we are.
    """
    argv = ["/bin/sh", "-c", request.command] if isinstance(request.command, str) else request.command
    with passing_on() as target:
        try:
            process = subprocess.Popen(
                argv,
                cwd=request.cwd,
                env=request.env,
                umask=request.umask,
                stdin=subprocess.DEVNULL,
                process_group=0,
                preexec_fn=partial(reset_signals, _found_by_commands()),
            )
        except OSError as error:
            note(f"cannot start the command: {error.strerror}: {error.filename or argv[0]}")
            is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            return EXIT_COMMAND_NOT_FOUND if is_missing else EXIT_NOT_EXECUTABLE
        target.aim(process.pid)
        code = process.wait()
        target.aim(None)
    return code if code >= 0 else 128 - code


def _found_by_commands() -> set[signal.Signals]:
    """Return the signals to reset to their defaults for the command; under nohup(1), not SIGHUP."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)
    return numbers


class Target:
    """The process group that gets our signals, once it exists."""

    def __init__(self) -> None:
        self._group: int | None = None
        self._early: list[int] = []

    def aim(self, group: int | None) -> None:
        """Forward signals to this group from now on, and those that came before it existed."""
        self._group = group
        while group is not None and self._early:
            self._send(self._early.pop(0))

    def receive(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal that is meant for the command."""
        if self._group is None:
            self._early.append(signum)
        else:
            self._send(signum)

    def _send(self, signum: int) -> None:
        if self._group is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signum)


@contextmanager
def passing_on() -> Iterator[Target]:
    """Forward signals to a command, except those that are ignored on purpose (nohup)."""
    target = Target()
    before = {signum: signal.getsignal(signum) for signum in _PASSED_ON}
    taken = [signum for signum, handler in before.items() if handler is not signal.SIG_IGN]
    for signum in taken:
        signal.signal(signum, target.receive)
    try:
        yield target
    finally:
        for signum in taken:
            signal.signal(signum, before[signum])
