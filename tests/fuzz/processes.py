"""One command in a process of its own: what it is given, how it ended, what it said.

Most are forked from the fuzzer, which has the modules loaded, and so begin at once. Those that are `is_real`
are started as a shell would start them, which is slower and has locales in it.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import os
import pkgutil
import resource
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from e2e.running import TASKMAN
from fuzz.campaign import patience_s
from process_table import kill, kill_tree

if TYPE_CHECKING:
    from pathlib import Path

#: No command needs as much.
_MOST_MEMORY_BYTES = 3 << 30
#: What Python says when what goes wrong goes wrong after the end of `main`.
EXIT_UNFLUSHED = 120


@dataclass
class Call:
    """A command line, and all that it is started with."""

    argv: list[str]
    cwd: Path
    environ: dict[str, str] = field(default_factory=dict)
    #: "null", "closed", or the path of a file to read.
    stdin: str = "null"
    #: "file", "closed", "full", "broken": a pipe that nobody reads.
    stdout: str = "file"
    stderr: str = "file"
    #: Who runs it; None: whoever runs the fuzzer.
    uid: int | None = None
    is_real: bool = False

    def __str__(self) -> str:
        words = " ".join(ascii(word if len(word) < 200 else word[:200] + "…") for word in self.argv)
        others = {
            name: value
            for name in ("stdin", "stdout", "stderr", "uid", "is_real")
            if (value := getattr(self, name)) not in ("null", "file", None, False)
        }
        return f"taskman {words} {others or ''} {self.environ}"


@dataclass
class End:
    """How it ended."""

    #: As a shell has it: 128 and the signal, where that ended it.
    code: int
    out: bytes
    err: bytes
    #: It had to be interrupted, or, "killed", did not even heed that.
    late: str = ""
    took_s: float = 0.0


def run(call: Call, scratch: Path, *, interrupt_s: float | None = None) -> End:
    """Run a command and wait for its end; one that goes on too long is interrupted, then killed."""
    out, err = scratch / "out", scratch / "err"
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(call, out, err)
    late = ""
    fd = os.pidfd_open(pid)
    try:
        if not _is_over(fd, interrupt_s or patience_s()):
            late = "interrupted"
            kill(pid, signal.SIGUSR1 if _has_dump(call) else signal.SIGCONT)
            _is_over(fd, 0.2)
            kill(pid, signal.SIGINT)
            if not _is_over(fd, patience_s()):
                late = "killed"  # with what it has started
                kill_tree(pid)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(fd)
    code = os.waitstatus_to_exitcode(status)
    return End(
        code if code >= 0 else 128 - code,
        _content(out) if call.stdout == "file" else b"",
        _content(err) if call.stderr == "file" else b"",
        late,
        time.monotonic() - begin,
    )


def _is_over(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _has_dump(call: Call) -> bool:
    """Tell if it can be asked where it is; `run` becomes another program, which has a use for the signal."""
    return not call.is_real and "run" not in call.argv


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 22)


# --- in the child ---


def _become(call: Call, out: Path, err: Path) -> None:
    """Be the command, in a child that has just been forked; never returns."""
    code = 1
    try:
        _prepare(call, out, err)
        if call.is_real:
            os.execve(TASKMAN, [b"taskman", *map(os.fsencode, call.argv)], call.environ)
        code = _main(call)
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code)  # whatever comes: this is no second fuzzer


def _prepare(call: Call, out: Path, err: Path) -> None:
    os.setsid()
    os.chdir(call.cwd)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, resource.RLIM_INFINITY))
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    _put(os.open(out, new, 0o666) if call.stdout == "file" else _odd_output(call.stdout), 1)
    _put(os.open(err, new, 0o666) if call.stderr == "file" else _odd_output(call.stderr), 2)
    if call.stdin == "closed":
        os.close(0)
    else:
        _put(os.open("/dev/null" if call.stdin == "null" else call.stdin, os.O_RDONLY), 0)
    if call.stdout == "closed":
        os.close(1)
    if call.stderr == "closed":
        os.close(2)
    if call.uid is not None:
        os.setgroups([])
        os.setgid(call.uid)
        os.setuid(call.uid)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(call.environ)
    time.tzset()


def _put(fd: int, number: int) -> None:
    os.dup2(fd, number)
    if fd > 2:
        os.close(fd)


def _odd_output(kind: str) -> int:
    if kind == "broken":
        reading, writing = os.pipe()
        os.close(reading)
        return writing
    return os.open("/dev/full" if kind == "full" else "/dev/null", os.O_WRONLY)


def _main(call: Call) -> int:
    """Do as the console script does: streams as Python makes them, the exit code, what is said at the end."""
    from taskman_cli.__main__ import main

    sys.stdin = _stream(0, "r", "strict")  # type: ignore[assignment]
    sys.stdout = _stream(1, "w", "strict")  # type: ignore[assignment]
    sys.stderr = _stream(2, "w", "backslashreplace")  # type: ignore[assignment]
    if call.stderr == "file" and _has_dump(call):
        faulthandler.register(signal.SIGUSR1, file=2)
    sys.argv = ["taskman", *call.argv]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.write(2, b"Exception ignored while flushing\n")
            code = EXIT_UNFLUSHED
    return code


def _stream(fd: int, mode: str, errors: str) -> io.TextIOWrapper | None:
    try:
        os.fstat(fd)
    except OSError:
        return None
    return open(fd, mode, encoding="utf-8", errors=errors, closefd=False)  # type: ignore[return-value]


def load_modules() -> None:
    """Load all that commands import, once, instead of in each child."""
    import taskman_cli

    for module in pkgutil.walk_packages(taskman_cli.__path__, "taskman_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("rich.console", "sqlite3", "tomli_w", "tzlocal", "platformdirs"):
        importlib.import_module(name)


def can_be(uid: int) -> bool:
    """Tell if another user can run Python as it is installed here."""
    if os.geteuid() != 0:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(uid)
            os.execv(TASKMAN, ["taskman", "--version"])
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0
