"""Runs a program for a sink: bounded in time and in output, ended with all that it has started."""

from __future__ import annotations

import os
import pwd
import select
import selectors
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.sinks.base import DeliveryFailed, NotReached

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.sinks.patience import Deadline

#: How much of what it says is kept; the rest is read and dropped.
_MOST_OUTPUT = 16 << 10
#: How long it may take to end after TERM.
_GRACE_S = 2.0
#: How long output may come after its end, from what it has left behind.
_AFTER_S = 0.5
_SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Program:
    """What is run."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    cwd: str | None = None
    #: The user that it runs as; "": our own.
    user: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    #: Negative: the number of the signal that killed it.
    code: int
    #: The end of its output, for people.
    words: str

    def __str__(self) -> str:
        how = f"exit {self.code}" if self.code >= 0 else f"killed by {_signal_name(-self.code)}"
        return f"{how}: {self.words}" if self.words else how


def shell(command: str) -> list[str]:
    """Return the arguments that run a command in the shell."""
    return [_SHELL, "-c", command]


def run(program: Program, data: bytes, deadline: Deadline) -> Ended:
    """Run a program with this on its standard input; raises DeliveryFailed if it cannot or takes too long."""
    process = _start(program)
    said = _Said()
    pidfd = os.pidfd_open(process.pid)
    try:
        _converse(process, pidfd, data, said, deadline)
    except TimeoutError:
        _end_group(process.pid, pidfd)
        raise DeliveryFailed(f"it took too long, and was killed{said.after()}") from None
    except BaseException:
        _end_group(process.pid, pidfd)
        raise
    finally:
        os.close(pidfd)
        with suppress(subprocess.TimeoutExpired):  # the kernel holds it
            process.wait(_GRACE_S)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
    return Ended(process.returncode, said.words())


class _Said:
    """The end of what a program says."""

    def __init__(self) -> None:
        self._data = b""

    def add(self, data: bytes) -> None:
        self._data = (self._data + data)[-_MOST_OUTPUT:]

    def words(self) -> str:
        text = self._data.decode("utf-8", "surrogateescape")
        return printable(" ".join(text.split()))[-200:]

    def after(self) -> str:
        return f": {words}" if (words := self.words()) else ""


def _start(program: Program) -> subprocess.Popen[bytes]:
    environment = dict(program.environment)
    uid = gid = groups = None
    if program.user:
        try:
            account = pwd.getpwnam(program.user)
        except KeyError:
            raise NotReached(f"there is no user {printable(program.user)}") from None
        environment |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
        if account.pw_uid != os.geteuid():
            uid, gid = account.pw_uid, account.pw_gid
            groups = os.getgrouplist(account.pw_name, gid)
    try:
        return subprocess.Popen(
            [os.fsencode(word) for word in program.argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            cwd=program.cwd,
            user=uid,
            group=gid,
            extra_groups=groups,
            start_new_session=True,
        )
    except (OSError, ValueError, UnicodeError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise NotReached(f"cannot run {printable(program.argv[0])}: {reason}") from None


def _converse(
    process: subprocess.Popen[bytes], pidfd: int, data: bytes, said: _Said, deadline: Deadline
) -> None:
    """Write its input and read its output until it has ended; raises TimeoutError."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    rest = memoryview(data)
    os.set_blocking(stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stdin, selectors.EVENT_WRITE)
        selector.register(stdout, selectors.EVENT_READ)
        selector.register(pidfd, selectors.EVENT_READ)
        has_ended = False
        while True:
            try:
                ready = {key.fileobj for key, _ in selector.select(deadline.left_s())}
            except TimeoutError:
                if has_ended:  # what it has left behind holds its output open
                    return
                raise
            if stdin in ready:
                rest = _written(stdin.fileno(), rest)
                if not rest:
                    selector.unregister(stdin)
                    with suppress(OSError):
                        stdin.close()
            if stdout in ready:
                piece = os.read(stdout.fileno(), 65536)
                said.add(piece)
                if not piece:
                    selector.unregister(stdout)
            if pidfd in ready:
                has_ended = True
                selector.unregister(pidfd)
                deadline = deadline.within(_AFTER_S)
            if has_ended and stdout not in selector.get_map():
                return


def _written(fd: int, rest: memoryview) -> memoryview:
    """Write a part of a program's input; return what is left."""
    try:
        return rest[os.write(fd, rest[:65536]) :] if rest else rest
    except BlockingIOError:
        return rest
    except OSError:  # it does not want to know
        return rest[:0]


def _end_group(pid: int, pidfd: int) -> None:
    """End a process and its group: TERM, then KILL. It is not reaped yet, so the id is its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
    select.select([pidfd], [], [], _GRACE_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
