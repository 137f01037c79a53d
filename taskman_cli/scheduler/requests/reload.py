"""Reads the job files again in another process, with a time limit, so that the loop never waits for them."""

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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from taskman_cli.errors import EXIT_FAILED, TaskmanError
from taskman_cli.jobfile.dump import BadDump, dump, load_dump
from taskman_cli.launch.locale import UTF8
from taskman_cli.scheduler.threads import start_thread
from taskman_cli.scheduler.timers import alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.jobfile import JobFile
    from taskman_cli.jobfile.fingerprint import Seen

#: Added to the time limit: within it the process itself reports which file hangs.
_GRACE_S = 2.0
#: How long to wait for the end of a killed process; the kernel may hold it longer.
_REAP_S = 2.0
_READ_BYTES = 1 << 16
#: How much of the standard error of a failed process is shown.
_LAST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading the job files."""

    #: None: they have errors.
    jobfile: JobFile | None = None
    #: The errors: all of them, in lines; the first one, in one line; and as an exit code.
    words: str = ""
    summary: str = ""
    code: int = 0
    #: How the files looked when they were read; None: unknown.
    seen: Seen | None = None
    #: What will fail when jobs run, each with its job.
    warnings: tuple[tuple[str, str], ...] = ()


class Reloader:
    """Reads in another process, which a thread waits for; `fileno` is readable when that is done."""

    def __init__(
        self, arguments: dict[str, Any], *, start: str, prepare: Callable[[JobFile], None] = lambda _: None
    ) -> None:
        """`arguments` are those of `jobfile.load`; relative paths begin at `start`.

        `prepare` gets what was read, in the thread, and may raise TaskmanError.
        """
        self._prepare = prepare
        self._arguments = arguments | {"start": start, "parent": os.getpid()}
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._result: Reading | None = None
        #: Guards the process and the descriptor against `close`.
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def fileno(self) -> int:
        """Return the descriptor that is readable when reading is done."""
        return self._done_fd

    def start(self, *, limit_s: float) -> None:
        """Begin to read; the last read must be done."""
        self._thread = start_thread(self._run, name="reload", args=(limit_s,))
        if self._thread is None:
            self._finish(_failed("no thread can be started for that now"))

    def result(self) -> Reading:
        """Return the result, once `fileno` is readable."""
        os.eventfd_read(self._done_fd)
        result, self._result = self._result, None
        assert result is not None
        return result

    def close(self) -> None:
        """Kill the process that still reads, and close the descriptor."""
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
            if result.jobfile:
                self._prepare(result.jobfile)
        except TaskmanError as error:
            words = error.render()
            result = replace(result, jobfile=None, words=words, summary=words, code=error.exit_code)
        except OSError as error:  # no process, descriptor or memory for now
            result = _failed(f"no process can be started to read them: {error.strerror}")
        except Exception as error:  # the loop waits for a result
            result = _failed(f"{type(error).__name__} while they were read: {error}")
        self._finish(result)

    def _finish(self, result: Reading) -> None:
        with self._lock:
            self._process, self._result = None, result
            if not self._is_closed:
                os.eventfd_write(self._done_fd, 1)

    def _read(self, limit_s: float) -> Reading:
        told = json.dumps(self._arguments | {"patience_s": limit_s}).encode()
        # Files in memory: neither process can block the other, as with pipes.
        with (
            _memory("arguments") as arguments,
            _memory("trouble") as trouble,
            alarm(limit_s + _GRACE_S) as expired,
        ):
            arguments.write(told)
            arguments.seek(0)
            with self._lock:
                if self._is_closed:
                    return _failed("taskman is stopping")
                # -P: not modules of the current directory.
                self._process = process = subprocess.Popen(
                    [sys.executable, *UTF8, "-P", "-m", "taskman_cli.cli.reader"],
                    stdin=arguments, stdout=subprocess.PIPE, stderr=trouble,
                )  # fmt: skip
            assert process.stdout
            output = None
            try:
                with process.stdout:
                    output = _read_until(process.stdout.fileno(), expired)
            finally:
                if output is None:
                    process.kill()
            with suppress(subprocess.TimeoutExpired):  # it hangs: the next Popen reaps it
                process.wait(_REAP_S)
            if output is None:
                return _failed(
                    f"not read within {limit_s:g} s ([taskman] read_timeout), and the process was killed"
                )
            if process.returncode is None:
                process.kill()
            trouble.seek(0)
            if process.returncode:
                return _failed(f"the process that reads them {_ended(process.returncode)}", trouble.read())
            return decode(output) or _failed(
                "the process that reads them gave no valid result", trouble.read()
            )


def _memory(name: str) -> BinaryIO:
    """Return a file in memory: the disk may be full."""
    return cast("BinaryIO", os.fdopen(os.memfd_create(name), "w+b", buffering=0))


def _read_until(fd: int, expired: int) -> bytes | None:
    """Read to the end; None if it does not come before another descriptor is readable."""
    output = bytearray()
    poll = select.poll()
    for one in (fd, expired):
        poll.register(one, select.POLLIN)
    while True:
        ready = [one for one, _ in poll.poll()]
        if fd in ready:
            data = os.read(fd, _READ_BYTES)
            if not data:
                return bytes(output)
            output += data
        elif expired in ready:
            return None


def encode(reading: Reading) -> bytes:
    """Encode a reading; the scheduler that decodes it may be of an earlier version."""
    values = {name: getattr(reading, name) for name in Reading.__slots__}
    values["jobfile"] = reading.jobfile and dump(reading.jobfile)
    return marshal.dumps(values)


def decode(data: bytes) -> Reading | None:
    """Decode a reading of any version; None if it is incomplete."""
    try:
        values = marshal.loads(data)  # noqa: S302 - our own process wrote it
        known = {name: values[name] for name in Reading.__slots__ if name in values}
        return Reading(**known | {"jobfile": values["jobfile"] and load_dump(values["jobfile"])})
    except (EOFError, ValueError, TypeError, KeyError, BadDump):
        return None


def _failed(why: str, trouble: bytes = b"") -> Reading:
    """Return the result where the files could not be read at all."""
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
