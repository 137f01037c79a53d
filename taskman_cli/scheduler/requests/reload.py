"""Reads the job files again, in a process beside the clock's loop, and not for longer than it may take."""

from __future__ import annotations

import json
import marshal
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from taskman_cli.errors import EXIT_FAILED
from taskman_cli.jobfile.dump import BadDump, dump, load_dump
from taskman_cli.launch.locale import UTF8

if TYPE_CHECKING:
    from taskman_cli.jobfile import JobFile
    from taskman_cli.jobfile.fingerprint import Seen

#: The process says itself which file does not answer, and gets so much longer for that.
_GRACE_S = 2.0
#: A killed process is gone after so long, unless the kernel holds it.
_REAP_S = 2.0
_READ_BYTES = 1 << 16
#: What is shown of the last words of a process that failed.
_LAST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading the job files."""

    #: None: they cannot be taken.
    jobfile: JobFile | None = None
    #: What is wrong with them: all of it, in lines; the first of it, in one; and as an exit code.
    words: str = ""
    summary: str = ""
    code: int = 0
    #: What was looked at; None: nobody knows.
    seen: Seen | None = None
    #: What will fail when jobs run, each with its job.
    warnings: tuple[tuple[str, str], ...] = ()


class Reloader:
    """Reads in a process of its own, with a thread that waits; `fileno` is readable when that is done."""

    def __init__(self, arguments: dict[str, Any], *, start: str) -> None:
        """Take what `jobfile.load` is to be called with, and where relative paths begin."""
        self._arguments = arguments | {"start": start, "parent": os.getpid()}
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._result: Reading | None = None
        #: Guards the process and the descriptor against `close`.
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def fileno(self) -> int:
        """Return the descriptor that is readable when the files were read."""
        return self._done_fd

    def start(self, *, limit_s: float) -> None:
        """Begin to read, for so long at most; not while that goes on already."""
        self._thread = threading.Thread(target=self._run, args=(limit_s,), name="reload", daemon=True)
        self._thread.start()

    def result(self) -> Reading:
        """Return what came of it."""
        os.eventfd_read(self._done_fd)
        result, self._result = self._result, None
        assert result is not None
        return result

    def close(self) -> None:
        """End what still reads, and let go of the descriptor."""
        with self._lock:
            self._is_closed = True
            if self._process:
                self._process.kill()
            os.close(self._done_fd)
        if self._thread:
            self._thread.join(_REAP_S)

    def _run(self, limit_s: float) -> None:
        try:
            result = self._read(limit_s)
        except OSError as error:  # no process, descriptor or memory for now
            result = _failed(f"no process can be started that reads them: {error.strerror}")
        with self._lock:
            self._process, self._result = None, result
            if not self._is_closed:
                os.eventfd_write(self._done_fd, 1)

    def _read(self, limit_s: float) -> Reading:
        told = json.dumps(self._arguments | {"patience_s": limit_s}).encode()
        # In memory, so that neither waits for the other, whatever becomes of the process.
        with _memory("wishes") as wishes, _memory("trouble") as trouble:
            wishes.write(told)
            wishes.seek(0)
            with self._lock:
                if self._is_closed:
                    return _failed("taskman is stopping")
                # Not from the directory that one is in: it may be full of modules.
                self._process = process = subprocess.Popen(
                    [sys.executable, *UTF8, "-P", "-m", "taskman_cli.cli.reader"],
                    stdin=wishes, stdout=subprocess.PIPE, stderr=trouble,
                )  # fmt: skip
            assert process.stdout
            with process.stdout:
                output = _read_until(process.stdout.fileno(), limit_s + _GRACE_S)
            if output is None:
                process.kill()
            with suppress(subprocess.TimeoutExpired):  # it hangs: the next one that is started reaps it
                process.wait(_REAP_S)
            if output is None:
                return _failed(
                    f"not read within {limit_s:g} s ([taskman] read_timeout), and what reads them was killed"
                )
            if process.returncode is None:
                process.kill()
            trouble.seek(0)
            if process.returncode:
                return _failed(f"the process that reads them {_ended(process.returncode)}", trouble.read())
            return decode(output) or _failed("what reads them wrote nothing of use", trouble.read())


def _memory(name: str) -> BinaryIO:
    """Return a file that is on no disk: that may be full."""
    return cast("BinaryIO", os.fdopen(os.memfd_create(name), "w+b", buffering=0))


def _read_until(fd: int, limit_s: float) -> bytes | None:
    """Read to the end; None if that does not come in time."""
    output = bytearray()
    expired = os.eventfd(0, os.EFD_CLOEXEC)
    timer = threading.Timer(limit_s, os.eventfd_write, (expired, 1))
    timer.start()
    poll = select.poll()
    for one in (fd, expired):
        poll.register(one, select.POLLIN)
    try:
        while True:
            ready = [one for one, _ in poll.poll()]
            if fd in ready:
                data = os.read(fd, _READ_BYTES)
                if not data:
                    return bytes(output)
                output += data
            elif expired in ready:
                return None
    finally:
        timer.cancel()
        timer.join()
        os.close(expired)


def encode(reading: Reading) -> bytes:
    """Write a reading down: the scheduler that takes it may be of an earlier version."""
    values = {name: getattr(reading, name) for name in Reading.__slots__}
    values["jobfile"] = reading.jobfile and dump(reading.jobfile)
    return marshal.dumps(values)


def decode(data: bytes) -> Reading | None:
    """Read what `encode` of any version wrote; None if it is not whole."""
    try:
        values = marshal.loads(data)  # noqa: S302 - our own process wrote it
        known = {name: values[name] for name in Reading.__slots__ if name in values}
        return Reading(**known | {"jobfile": values["jobfile"] and load_dump(values["jobfile"])})
    except (EOFError, ValueError, TypeError, KeyError, BadDump):
        return None


def _failed(why: str, trouble: bytes = b"") -> Reading:
    """Make what came of it where the files could not be read at all."""
    last = trouble[-_LAST_WORDS:].decode("utf-8", "replace").strip()
    words = f"the job files cannot be read: {why}" + (f"\n{last}" if last else "")
    return Reading(words=words, summary=f"the job files cannot be read: {why}", code=EXIT_FAILED)


def _ended(code: int) -> str:
    if code > 0:
        return f"failed with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
