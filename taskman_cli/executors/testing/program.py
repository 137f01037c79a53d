"""The conformance suite with the real program: jobs on an executor, and each process killed in turn."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.testing import acts
from taskman_cli.executors.testing.bench import Failure, processes_with

if TYPE_CHECKING:
    from taskman_cli.executors.testing.acts import Act, Say

#: How long each step may take.
TIMEOUT_S = 60.0
_TASKMAN = (sys.executable, "-m", "taskman_cli")
_PAUSE_S = 0.02
#: A command that asks takes much more time than to look whether anything was logged.
_ASK_AGAIN_S = 1.0
_HELPER = "taskman_cli.executors.process"
_ENDS = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost"})
#: Says "ready", and ends by itself a while later.
_SLOW = acts.Act(
    "echo ready; sleep 3; echo more; exit 7",
    "print('ready', flush=True); time.sleep(3); print('more', flush=True); sys.exit(7)",
)
_JOB = "conformance"


class Program:
    """One `taskman run` with one job, in a directory of its own."""

    def __init__(self, directory: Path, table: str, say: Say, *, name: str, timeout_s: float) -> None:
        self.directory = directory
        self.timeout_s = timeout_s
        self._table, self._say, self._name = table, say, name
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environ = {**os.environ, "STATE_DIRECTORY": str(directory / "state")}

    def write(self, act: Act, *lines: str, is_due: bool = True) -> None:
        """Write the job file: the job runs at the start, if it is due."""
        said = self._say(act)
        keys = dict(said.keys) if said.command is None else {"command": said.command, **said.keys}
        written = [f"{key} = {_toml(value)}" for key, value in keys.items()]
        due = "run_on_start = true" if is_due else ""
        job = [f"[jobs.{_JOB}]", 'every = "365d"', f'executor = "{self._name}"', due, *written, *lines]
        (self.directory / "jobs.toml").write_text(self._table + "\n" + "\n".join(job) + "\n", "utf-8")

    def start(self) -> None:
        """Start taskman."""
        with (self.directory / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [*_TASKMAN, "run", "jobs.toml", "--log-level", "info"],
                    cwd=self.directory, env=self.environ,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )
            )  # fmt: skip

    @property
    def log(self) -> str:
        """Return what was logged."""
        return (self.directory / "log").read_text("utf-8", "backslashreplace")

    @property
    def supervisor(self) -> int:
        """Return the process of the supervisor."""
        return self._processes[-1].pid

    def process_of(self, module: str) -> int:
        """Return the child of the supervisor that runs a module."""

        def find() -> int:
            for pid in _children(self.supervisor):
                if module.encode() in _words(pid):
                    return pid
            return 0

        pid: int = self.until(find, f"the process of {module}")
        return pid

    def kill_all(self) -> None:
        """Kill supervisor, scheduler and the process of the executor, as a fault of the machine does."""
        children = [pid for pid in _children(self.supervisor) if b"taskman_cli." in b"".join(_words(pid))]
        for pid in (self.supervisor, *children):
            kill(pid)
        self._processes[-1].wait()

    def stop(self) -> None:
        """Tell taskman to end, and wait for that."""
        process = self._processes[-1]
        process.terminate()
        try:
            process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"taskman did not stop within {self.timeout_s:g} s: {self.log}") from None

    def call(self, *words: str) -> str:
        """Run a command of taskman, and return its output; "" if it failed."""
        done = subprocess.run(
            [*_TASKMAN, *words], cwd=self.directory, env=self.environ, check=False, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=self.timeout_s,
        )  # fmt: skip
        return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs of the job, the latest first."""
        said = self.call("history", _JOB, "--json")
        return list(json.loads(said)) if said else []

    def until_runs(self, look: Callable[[list[dict[str, Any]]], Any], what: str) -> Any:
        """Wait until the runs are as `look` says; they are read when the log has grown, and each second."""
        seen_bytes, asked_s = -1, 0.0

        def look_again() -> Any:
            nonlocal seen_bytes, asked_s
            size_bytes, now_s = (self.directory / "log").stat().st_size, time.monotonic()
            if size_bytes == seen_bytes and now_s - asked_s < _ASK_AGAIN_S:
                return None
            seen_bytes, asked_s = size_bytes, now_s
            return look(self.runs())

        return self.until(look_again, what)

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """Wait until `look` returns something true, and return that."""
        until = time.monotonic() + self.timeout_s
        while not (found := look()):
            if time.monotonic() > until:
                raise Failure(f"waited {self.timeout_s:g} s for {what}; the log: {self.log}")
            time.sleep(_PAUSE_S)
        return found

    def wait_ready(self) -> None:
        """Wait until the job has said "ready"."""
        self.until(lambda: b"ready" in self._output(), "the first output of the job")

    def _output(self) -> bytes:
        paths = [path for path in (self.directory / "state" / "output").rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in paths)

    def end(self, *expected: str) -> dict[str, Any]:
        """Wait for the end of the only run, and check how it ended."""

        def ended(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return runs if any(run["state"] in _ENDS for run in runs) else []

        run, *others = self.until_runs(ended, "the end of the run")
        if others:
            raise Failure(f"there are {1 + len(others)} runs, and not one")
        if run["state"] not in expected:
            raise Failure(f"the run is {run['state']} ({run.get('detail')}), not {' or '.join(expected)}")
        return dict(run)

    def close(self) -> None:
        """End all that was started."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            if process.poll() is None:
                for pid in (*_children(process.pid), process.pid):
                    kill(pid)
                process.wait()


def _ends(program: Program, is_lasting: bool) -> None:
    program.write(acts.exit_with(0))
    program.start()
    program.end("succeeded")
    program.stop()


def _fails(program: Program, is_lasting: bool) -> None:
    program.write(_SLOW)
    program.start()
    _expect_seven(program.end("failed"))
    program.until(lambda: program.call("log", _JOB) == "ready\nmore\n", "all of its output")


def _times_out(program: Program, is_lasting: bool) -> None:
    with _Mark(program) as mark:
        program.write(acts.have_child(mark), 'timeout = "1s"', 'kill_timeout = "1s"')
        program.start()
        program.end("timed_out")


def _is_cancelled(program: Program, is_lasting: bool) -> None:
    with _Mark(program) as mark:
        program.write(acts.have_child(mark), 'kill_timeout = "1s"')
        program.start()
        program.wait_ready()
        program.call("cancel", _JOB)
        program.end("cancelled")


def _is_stopped(program: Program, is_lasting: bool) -> None:
    with _Mark(program) as mark:
        program.write(acts.have_child(mark), 'kill_timeout = "1s"')
        program.start()
        program.wait_ready()
        program.stop()


def _scheduler_killed(program: Program, is_lasting: bool) -> None:
    program.write(_SLOW)
    program.start()
    program.wait_ready()
    kill(program.process_of("taskman_cli.scheduler"))
    _expect_seven(program.end("failed"))


def _helper_killed(program: Program, is_lasting: bool) -> None:
    program.write(_SLOW)
    program.start()
    program.wait_ready()
    kill(program.process_of(_HELPER))
    _expect_found(program, is_lasting)
    program.call("trigger", _JOB)
    program.until_runs(lambda runs: any(run["state"] == "failed" for run in runs), "a run after that")


def _helper_killed_with_children(program: Program, is_lasting: bool) -> None:
    with _Mark(program) as mark:
        program.write(acts.have_child(mark))
        program.start()
        program.wait_ready()
        kill(program.process_of(_HELPER))
        if is_lasting:  # it goes on, until it is told to end
            program.process_of(_HELPER)
            program.call("cancel", _JOB)
        program.end("cancelled" if is_lasting else "lost")


def _supervisor_killed(program: Program, is_lasting: bool) -> None:
    program.write(_SLOW)
    program.start()
    program.wait_ready()
    scheduler = program.process_of("taskman_cli.scheduler")
    kill(program.supervisor)
    program.until(lambda: not _words(scheduler), "the scheduler to end with the supervisor")
    _start_again(program, is_lasting)


def _all_killed(program: Program, is_lasting: bool) -> None:
    program.write(_SLOW)
    program.start()
    program.wait_ready()
    program.kill_all()
    _start_again(program, is_lasting)


def _start_again(program: Program, is_lasting: bool) -> None:
    program.write(_SLOW, is_due=False)
    program.start()
    _expect_found(program, is_lasting)


def _expect_found(program: Program, is_lasting: bool) -> None:
    """Check that an attempt was found again with its end, or is lost; never both, and never run twice."""
    if is_lasting:
        _expect_seven(program.end("failed"))
    else:
        program.end("lost")


def _expect_seven(run: Mapping[str, Any]) -> None:
    if "exit 7" not in str(run.get("detail")):
        raise Failure(f"the run ended with {run.get('detail')!r}, not with exit 7")


Scene = Callable[[Program, bool], None]
#: What is played with the real program, by name.
SCENES: Mapping[str, Scene] = {
    "it succeeds": _ends,
    "it fails": _fails,
    "it times out": _times_out,
    "it is cancelled": _is_cancelled,
    "it is stopped": _is_stopped,
    "the scheduler is killed": _scheduler_killed,
    "the helper is killed": _helper_killed,
    "the helper of one with children is killed": _helper_killed_with_children,
    "the supervisor is killed": _supervisor_killed,
    "all are killed": _all_killed,
}


def check_program(
    table: str,
    *,
    say: Say,
    name: str = "tested",
    finds_again: bool = False,
    without: Collection[str] = (),
    only: Collection[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Run jobs on an executor with the real program, and kill each of its processes in turn.

    `table` is the text of `[executors.NAME]`, and `name` that NAME. `finds_again`: an attempt outlives the
    process of the executor; else it is lost with that, and nothing of it goes on. Raises AssertionError with
    all that is wrong.
    """
    if strange := {*without, *only} - SCENES.keys():
        raise ValueError(f"no such scene: {', '.join(sorted(strange))}")
    wrong = []
    for title, scene in SCENES.items():
        if title in without or (only and title not in only):
            continue
        with tempfile.TemporaryDirectory(prefix="taskman-conformance-") as directory:
            program = Program(Path(directory), table, say, name=name, timeout_s=timeout_s)
            try:
                scene(program, finds_again)
            except Failure as error:
                wrong.append(f"{title}: {error}")
            finally:
                program.close()
    if wrong:
        raise AssertionError("\n".join(wrong))


class _Mark:
    """An argument that no other process has: at the end, none has it any more."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._mark = random.randrange(100_000_000, 999_999_999)  # noqa: S311 - no secret

    def __enter__(self) -> int:
        return self._mark

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._program.until(lambda: not processes_with(self._mark), "the end of its processes")
        finally:
            for pid in processes_with(self._mark):
                kill(pid)


def kill(pid: int) -> None:
    """Kill a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def _words(pid: int) -> list[bytes]:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def _toml(value: object) -> str:
    """Write a value as TOML, which has JSON's strings, numbers and arrays."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
