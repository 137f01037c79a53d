"""Runs the real `taskman run` for a test: starts it, watches it, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from process_table import children, command_line, kill_tree, kill_whole
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

TASKMAN = str(Path(sys.executable).with_name("taskman"))
HURRIED = Path(__file__).with_name("hurried")


def hurried(
    numbers: Mapping[str, float], environ: Mapping[str, str] = os.environ, *, site: str = str(HURRIED)
) -> dict[str, str]:
    """Return an environment in which taskman has these numbers, by module and name, in place of its own."""
    words = " ".join(f"{name}={number}" for name, number in numbers.items())
    path = os.pathsep.join(filter(None, [site, environ.get("PYTHONPATH")]))
    return {**environ, "PYTHONPATH": path, "TASKMAN_NUMBERS": words}


def _loud(options: Sequence[str]) -> Sequence[str]:
    """Return options that have each run logged, unless a test says how much is."""
    is_said = {"-q", "-v", "--log-level"} & {*options}
    return () if is_said else ("--log-level", "info")


class Running:
    """A `taskman run` in the background, its log in a file, its state in a directory of the test's own."""

    def __init__(
        self,
        directory: Path,
        jobs: str,
        *options: str,
        environ: Mapping[str, str] = os.environ,
        prefix: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self._environ = dict(environ)
        (directory / "jobs.toml").write_text(jobs, "utf-8")
        self.log_path = directory / "log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.argv, "run", "jobs.toml", *_loud(options), *options],
                cwd=directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def argv(self) -> list[str]:
        """Return how taskman is called."""
        return [TASKMAN]

    @property
    def env(self) -> dict[str, str]:
        """Return the environment that it is called in."""
        return self._environ | {"STATE_DIRECTORY": str(self.directory / "state")}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill_tree(self.process.pid)
        self.process.wait()

    @property
    def log(self) -> str:
        """Return all that was logged so far."""
        return self.log_path.read_text("utf-8", "backslashreplace")

    def path(self, name: str) -> Path:
        """Return a path in the directory that the commands start in."""
        return self.directory / name

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file in that directory, none if it isn't there."""
        path = self.path(name)
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, name: str, *, lines: int = 1) -> list[str]:
        """Wait until a file has that many lines, and return them."""
        wait_until(lambda: len(self.lines(name)) >= lines, what=f"{lines} lines in {name}")
        return self.lines(name)

    def wait_for_log(self, text: str) -> None:
        """Wait until a text has been logged."""
        wait_until(lambda: text in self.log, what=lambda: f"{text!r} in the log: …{self.log[-5000:]}")

    def scheduler_pid(self) -> int:
        """Return the pid of the scheduler that lives now."""
        found: list[int] = []
        # It may be gone at the next look: what was seen once is the answer.
        wait_until(lambda: bool(found.extend(self._schedulers()) or found), what="a scheduler")
        return found[0]

    def kill_scheduler(self) -> int:
        """Kill the scheduler that lives now, and return its pid; who looks for one then finds the next."""
        pid = self.scheduler_pid()
        kill_whole(pid)
        return pid

    def is_listening(self) -> bool:
        """Tell whether a scheduler takes connections, in the state directory that `env` names."""
        with closing(socket.socket(socket.AF_UNIX)) as client:
            return client.connect_ex(str(self.directory / "state" / "taskman.sock")) == 0

    def _schedulers(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if is_scheduler(pid)]

    def send(self, signum: int) -> None:
        """Signal the process that was started."""
        self.process.send_signal(signum)

    def end(self) -> int:
        """Wait for it to leave, and return its exit code."""
        return self.process.wait(60)


@contextmanager
def one_ahead(make: Callable[[], Running]) -> Iterator[Callable[[], Running]]:
    """Give what starts the next test's while a test goes on; who takes one ends it."""
    waiting = make()

    def take() -> Running:
        nonlocal waiting
        taken, waiting = waiting, make()
        return taken

    try:
        yield take
    finally:
        with waiting:
            pass


def is_scheduler(pid: int) -> bool:
    """Tell whether a supervisor started this process as the scheduler, by the name of any version.

    The supervisor's own command line has the scheduler's in it, behind two dashes, and so has that of each
    process that it makes until that becomes its command.
    """
    own, _, _ = command_line(pid).partition(" -- ")
    return not {"taskman_cli.scheduler", "taskman_cli.daemon"}.isdisjoint(own.split())
