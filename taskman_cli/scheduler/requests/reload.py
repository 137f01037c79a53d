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
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from taskman_cli.errors import EXIT_FAILED, TaskmanError
from taskman_cli.jobfile.difference import Difference, PackedDifference, dump_with_difference, merged
from taskman_cli.jobfile.dump import BadDump, compressed, dump, load_dump
from taskman_cli.launch.locale import UTF8
from taskman_cli.scheduler.threads import start_thread
from taskman_cli.scheduler.timers import alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taskman_cli.jobfile import JobFile
    from taskman_cli.jobfile.fingerprint import Seen

#: Added to the time limit: within it the process itself reports which file hangs.
_GRACE_S = 2.0
#: How long to wait for the end of a killed process; the kernel may hold it longer.
_REAP_S = 2.0
_READ_BYTES, _PIECE_BYTES = 1 << 16, 1 << 24
#: How much of the standard error of a failed process is shown.
_LAST_WORDS = 2_000
#: While a thread decodes what was read, the loop gets the interpreter's lock after this time, not after 5 ms:
#: it needs it again after each write.
_SWITCH_S = 0.000_2


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
    #: What is different from the jobs before; None: unknown.
    difference: Difference | None = None
    #: `dump` of the job files, if they are right, compressed: the ten megabytes of 100,000 jobs would stand
    #: between the supervisor and the next start.
    kept: bytes = b""
    #: What `prepare` returned.
    prepared: str = ""


#: What another process says of a reading besides the job files.
_SAID = tuple(
    field.name for field in fields(Reading) if field.name not in ("jobfile", "difference", "kept", "prepared")
)


class Reloader:
    """Reads in another process, which a thread waits for; `fileno` is readable when that is done."""

    def __init__(
        self, arguments: dict[str, Any], *, start: str, prepare: Callable[[JobFile], str] = lambda _: ""
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
        #: The job files in force, and a file with their dump; None: not known.
        self._known: tuple[JobFile, BinaryIO] | None = None
        #: The file with the dump of those that were read last.
        self._fresh: BinaryIO | None = None

    def begin_with(self, jobfile: JobFile, dumped: bytes) -> None:
        """Take the job files in force: the next reading says what is different."""
        with suppress(OSError):  # without them, it says all
            file = _memory("jobs")
            file.write(dumped)
            self._know(jobfile, file)

    def accept(self, jobfile: JobFile) -> None:
        """Take note that the job files that were read last are in force."""
        if self._fresh is not None:
            fresh, self._fresh = self._fresh, None
            self._know(jobfile, fresh)

    def _know(self, jobfile: JobFile, file: BinaryIO) -> None:
        before, self._known = self._known, (jobfile, file)
        if before is not None:
            before[1].close()

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
        for file in (self._fresh, self._known and self._known[1]):
            if file is not None:
                file.close()

    def _run(self, limit_s: float) -> None:
        try:
            result = self._read(limit_s)
            if result.jobfile:
                with _courtesy():
                    result = replace(result, prepared=self._prepare(result.jobfile))
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
            if self._fresh is not None:
                self._fresh.close()
            self._fresh = fresh = _memory("jobs")
            before, known = self._known or (None, None)
            places = [fresh.fileno(), *([known.fileno()] if known is not None else [])]
            with self._lock:
                if self._is_closed:
                    return _failed("taskman is stopping")
                # -P: not modules of the current directory.
                self._process = process = subprocess.Popen(
                    [sys.executable, *UTF8, "-P", "-m", "taskman_cli.cli.reader", *map(str, places)],
                    stdin=arguments, stdout=subprocess.PIPE, stderr=trouble, pass_fds=places,
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
            with _courtesy():
                reading = decode(output, fresh.fileno(), before)
            return reading or _failed("the process that reads them gave no valid result", trouble.read())


@contextmanager
def _courtesy() -> Iterator[None]:
    """Let other threads have the interpreter's lock soon."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


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


def encode(reading: Reading, fresh: int | None = None, known: int | None = None) -> bytes:
    """Encode a reading; the scheduler that decodes it may be of an earlier version.

    `fresh` is a file for the dump of the jobs, `known` has that of the jobs before. Without `fresh`, as an
    earlier version calls it, the dump is part of the reading.
    """
    values = {name: getattr(reading, name) for name in _SAID}
    jobfile, dumped, difference = reading.jobfile, b"", None
    if jobfile and fresh is not None:
        before = None if known is None else _content(known)
        dumped, difference = dump_with_difference(jobfile, before)
        with os.fdopen(fresh, "wb", closefd=False) as file:
            file.write(dumped)
    values["jobfile"] = jobfile and not dumped and dump(jobfile)
    values["dump_bytes"] = len(dumped)
    values["difference"] = difference and astuple(difference)
    return marshal.dumps(values)


def decode(data: bytes, fresh: int | None = None, before: JobFile | None = None) -> Reading | None:
    """Decode a reading of any version; None if it is incomplete.

    `fresh` is the file with the dump of the jobs, and `before` the job files that it was compared with.
    """
    try:
        values = marshal.loads(data)  # noqa: S302 - our own process wrote it
        reading = Reading(**{name: values[name] for name in _SAID if name in values})
        if values["jobfile"]:
            kept = compressed(values["jobfile"])
            return replace(reading, jobfile=load_dump(values["jobfile"]), kept=kept)
        size = values.get("dump_bytes")
        if not size or fresh is None:
            return reading
        dumped = _content(fresh)
        if len(dumped) != size:
            return None
        reading = replace(reading, kept=compressed(dumped))
        if values["difference"] and before is not None:
            with suppress(BadDump):
                jobfile, difference = merged(before.jobs, PackedDifference(*values["difference"]))
                return replace(reading, jobfile=jobfile, difference=difference)
        return replace(reading, jobfile=load_dump(dumped))
    except (EOFError, ValueError, TypeError, KeyError, BadDump):
        return None


def _content(file: int) -> bytes:
    """Return what is in a file of which another process has the place, too."""
    found = []
    at = 0
    while data := os.pread(file, _PIECE_BYTES, at):
        found.append(data)
        at += len(data)
    return b"".join(found)


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
