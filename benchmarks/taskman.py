"""Starts `taskman run` for a benchmark, with its own state directory, and ends it.

The job file, the state, the socket and the output of the commands are all in one temporary directory, which
is removed afterwards.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness import POLL_S, BenchmarkError, child_environment, wait_until
from procfs import Usage, read_children, read_command_line, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

#: How long the two processes may take to start and to end.
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class Taskman:
    """One `taskman run`, from entering the context to leaving it.

    `job_file` is the text of the job file; everything is kept in `directory`.
    """

    def __init__(
        self,
        directory: Path,
        job_file: str,
        *,
        log_level: str = "info",
        group: Path | None = None,
        may_warn: bool = False,
        terminal: int | None = None,
        **environ: str,
    ) -> None:
        """`group`: the control group that it runs in, None: ours; `may_warn`: warnings are no fault.

        `terminal`: a descriptor; it shows the live view there.
        """
        if importlib.util.find_spec("taskman_cli") is None:
            raise BenchmarkError("taskman_cli is not installed for this Python: pip install .")
        self.directory = directory
        self.supervisor_pid = 0
        self.scheduler_pid = 0
        self._job_file = job_file
        self._log_level = log_level
        self._environ = environ
        self._group = group
        self._may_warn = may_warn
        self._terminal = terminal
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = self.directory / "jobs.toml"
        path.write_text(self._job_file)
        state = self.directory / "state"
        state.mkdir(mode=0o700)
        arguments = ["run", str(path), "--log-level", self._log_level]
        if self._terminal is None:
            arguments.append("--no-live")
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._enter_group(), sys.executable, "-m", "taskman_cli", *arguments],
                cwd=self.directory,
                env=child_environment(
                    STATE_DIRECTORY=str(state),
                    RUNTIME_DIRECTORY=str(state),
                    HOME=str(self.directory),
                    **self._environ,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log if self._terminal is None else self._terminal,
                stderr=log if self._terminal is None else self._terminal,
                start_new_session=True,
            )
        self.supervisor_pid = self._process.pid
        try:
            self.wait_until(self._has_scheduler, timeout_s=START_TIMEOUT_S, what="the scheduler process")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._kill()
            return
        self._stop()

    def wait_until(
        self, condition: Callable[[], bool], *, timeout_s: float, what: str, poll_s: float = POLL_S
    ) -> None:
        """Wait for `condition`, and give up at once if taskman ends before it."""
        try:
            wait_until(lambda: self._is_over() or condition(), timeout_s=timeout_s, what=what, poll_s=poll_s)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}{self._said()}") from None
        if self._is_over():
            raise BenchmarkError(f"taskman ended while waiting for {what}{self._said()}")

    def usage(self) -> Usage:
        """Return what both processes have used so far."""
        return read_usage(self.supervisor_pid) + read_usage(self.scheduler_pid)

    @property
    def pids(self) -> tuple[int, int]:
        """Return the supervisor and the scheduler."""
        return self.supervisor_pid, self.scheduler_pid

    def log_lines(self) -> list[str]:
        """Return what it has logged so far."""
        return self._log_path.read_text(errors="replace").splitlines()

    def _enter_group(self) -> list[str]:
        if self._group is None:
            return []
        return ["/bin/sh", "-c", f'echo $$ > "{self._group}/cgroup.procs" && exec "$@"', "sh"]

    @property
    def _log_path(self) -> Path:
        return self.directory / "log"

    def _has_scheduler(self) -> bool:
        for pid in read_children(self.supervisor_pid):
            if any("taskman_cli" in argument for argument in read_command_line(pid)):
                self.scheduler_pid = pid
                return True
        return False

    def _is_over(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _said(self) -> str:
        lines = self.log_lines()
        return "; it said:\n" + "\n".join(lines[-10:]) if lines else ""

    def _stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            raise BenchmarkError(
                f"taskman did not stop within {STOP_TIMEOUT_S:.0f} s{self._said()}"
            ) from None
        if code != 0:
            raise BenchmarkError(f"taskman exited {code}{self._said()}")
        # A valid measurement logs no warnings.
        complaints = [line for line in self.log_lines() if not is_information(line)]
        if complaints and not self._may_warn:
            raise BenchmarkError("taskman complained:\n" + "\n".join(complaints[:10]))

    def _kill(self) -> None:
        """End both processes by their ids; the scheduler leaves with its supervisor, unless it hangs."""
        if self._process is None:
            return
        schedulers = [] if self._is_over() else read_children(self.supervisor_pid)
        self._process.kill()
        self._process.wait()
        for pid in schedulers:
            if any("taskman_cli" in argument for argument in read_command_line(pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def is_information(line: str) -> bool:
    """Tell whether a line of the log reports what went well: "TIME info    MESSAGE"."""
    return line.split(maxsplit=2)[1:2] in (["info"], ["notice"])


def count_successes(lines: Iterable[str]) -> int:
    """Return the number of runs in lines of the log that ended well."""
    return sum(": succeeded after " in line for line in lines)


@contextlib.contextmanager
def work_directory() -> Iterator[Path]:
    """Give a temporary directory for one measurement."""
    with tempfile.TemporaryDirectory(prefix="taskman-bench-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def at(slot_ns: int) -> str:
    """Return `slot_ns` as a TOML date-time, in UTC."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=slot_ns // 1000)
    return instant.isoformat()


def job(
    name: str, *, at_ns: int | None = None, command: str | Sequence[str], **keys: str | int | bool | list[str]
) -> str:
    """Return the text of one job, a one-off at `at_ns` if given; `keys` are the rest of its table."""
    value = json.dumps(command if isinstance(command, str) else list(command))
    lines = [f"[jobs.{name}]", f"command = {value}"]
    if at_ns is not None:
        lines.append(f"at = {at(at_ns)}")
    lines.extend(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    return "\n".join(lines) + "\n"
