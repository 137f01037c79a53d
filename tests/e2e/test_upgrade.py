"""An upgrade under running jobs: the code is replaced, taskman restarts, nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e.running import Running
from integration.ledger_tables import read_ledger
from process_table import is_alive
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[2]
RELEASES = HERE / "tests" / "data" / "releases"
EARLIER = "taskman_scheduler-0.1.0-py3-none-any.whl"
#: The commit before most modules were moved and renamed.
BEFORE_THE_MOVE = "taskman_scheduler-0.2.0.dev0-py3-none-any.whl"

JOBS = """
[jobs]
crontab = "@yearly echo never"
[jobs.often]
every = "500ms"
overlap = "queue"
on_missed = "all"
start_deadline = "1h"
command = "echo $TASKMAN_SLOT >> slots"
[jobs.redirected]
every = "500ms"
overlap = "queue"
command = "A=1 printenv A TASKMAN_SLOT >>redirected"
[jobs.long]
every = "1h"
run_on_start = true
overlap = "queue"
command = "echo $$ >> long; while [ ! -e go ]; do sleep 0.05; done; echo over >> long; exit 7"
[jobs.failing]
every = "1h"
run_on_start = true
success_exit_codes = [0, 3]
command = "echo $$ >> failing; while [ ! -e go ]; do sleep 0.05; done; exit 3"
"""


class Upgraded(Running):
    """A `taskman run` whose code stands behind a link, which leads elsewhere after an upgrade."""

    def __init__(self, directory: Path, first: Path) -> None:
        self.current = directory / "current"
        self.current.symlink_to(first)
        super().__init__(directory, JOBS)

    @property
    def argv(self) -> list[str]:
        """Run the code that the link leads to."""
        return [sys.executable, "-P", "-m", "taskman_cli"]

    @property
    def env(self) -> dict[str, str]:
        """Find it before the one that is installed."""
        state = str(self.directory / "state")
        return os.environ | {"STATE_DIRECTORY": state, "PYTHONPATH": str(self.current)}

    def wait_for(self, name: str, *, lines: int = 1) -> list[str]:
        """Wait until a file has that many lines: code that was just unpacked is compiled first."""
        try:
            wait_until(lambda: len(self.lines(name)) >= lines, timeout_s=60)
        except AssertionError:
            raise AssertionError(f"not {lines} lines in {name}: {self.log}") from None
        return self.lines(name)

    def upgrade(self, other: Path) -> None:
        """Put other code in the place of what runs."""
        new = self.directory / "new"
        new.symlink_to(other)
        new.rename(self.current)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the code as it is now."""
        return subprocess.run(
            [*self.argv, *arguments], cwd=self.directory, env=self.env, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    def taskman(self, *arguments: str, code: int = 0) -> str:
        """Run a command, and return what it printed."""
        done = self.call(*arguments)
        assert code == done.returncode, (done.stdout, done.stderr, self.log)
        assert "Traceback" not in done.stderr
        return done.stdout

    def restart(self) -> None:
        """Have another scheduler, and wait until it is there."""
        before = self.scheduler_pid()
        self.taskman("restart")
        wait_until(
            lambda: self.scheduler_pid() != before, timeout_s=60, what=f"another scheduler: {self.log}"
        )
        self.wait_for_answer()

    def wait_for_answer(self) -> None:
        """Wait until a scheduler answers."""
        wait_until(lambda: self.call("status").returncode == 0, timeout_s=30, what=f"an answer: {self.log}")

    def rows(self, query: str) -> list[Any]:
        """Return what the ledger says."""
        return read_ledger(self.directory / "state", query)


# Once for all tests: what is there anew is compiled at its first start.
@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the code of the version before."""
    return unpacked(EARLIER, tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="module")
def before_the_move(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the code of the last commit whose scheduler was the module taskman_cli.daemon."""
    return unpacked(BEFORE_THE_MOVE, tmp_path_factory.mktemp("before"))


def unpacked(wheel: str, target: Path) -> Path:
    with zipfile.ZipFile(RELEASES / wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the present code as a later version, whose jobs, settings and requests have gained a field."""
    target = tmp_path_factory.mktemp("later")
    shutil.copytree(
        HERE / "taskman_cli", target / "taskman_cli", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, old, new in (
        ("core/model.py", "    is_once: bool = False\n", "    is_once: bool = False\n    gained: int = 7\n"),
        (
            "jobfile/load.py",
            "    notes: tuple[Problem, ...] = ()\n",
            "    notes: tuple[Problem, ...] = ()\n    gained: int = 8\n",
        ),
        ("core/model.py", "    execution: Execution\n", "    execution: Execution\n    gained: int = 9\n"),
        (
            "scheduler/options.py",
            "    skip_bad: bool = False\n",
            "    gained: int = 10\n    skip_bad: bool = False\n",
        ),
        (
            "core/protocol.py",
            '    do: ClassVar[str] = "show"\n    job: str\n',
            '    do: ClassVar[str] = "show"\n    job: str\n    gained: int = 11\n',
        ),
        (
            "scheduler/__main__.py",
            "    gc.collect()\n",
            "    gained = {(j.gained, t.gained) for j in jobfile.jobs for t in j.tasks}\n"
            "    log.report(f'gained: {gained} {jobfile.gained} {options.gained}')\n"
            "    gc.collect()\n",
        ),
    ):
        path = target / "taskman_cli" / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has changed: {old!r}"
        path.write_text(text.replace(old, new))
    return target


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return where all of it is, and let nothing that was started there go on."""
    yield tmp_path
    (tmp_path / "go").touch()


def check_all_is_there(running: Upgraded) -> None:
    """Check that no slot was lost or taken twice, and that commands that ran through it have their ends."""
    pid = int(running.lines("long")[0])
    assert is_alive(pid)
    once = running.taskman("once", "--in", "2s", "--name", "later", "echo once >> once")
    assert "later" in once
    before = len(running.lines("slots"))
    running.wait_for("slots", lines=before + 3)
    # The supervisor of an earlier version has the shell run it.
    redirected = running.wait_for("redirected", lines=len(running.lines("redirected")) + 4)
    assert set(redirected[0::2]) == {"1"}
    running.path("go").touch()
    ends = (
        "SELECT a.state, a.exit_code FROM attempts a JOIN runs r ON r.id = a.run"
        " JOIN job_state j ON j.id = r.job"
    )
    wait_until(
        lambda: running.rows(f"{ends} WHERE j.name = 'long'") == [("failed", 7)],
        what=f"its end: {running.log}",
    )
    wait_until(lambda: running.rows(f"{ends} WHERE j.name = 'failing'") == [("succeeded", 3)], what="its end")
    assert running.lines("long") == [str(pid), "over"]
    running.wait_for("once")
    running.taskman("stop")
    assert running.end() == 0
    slots = [int(slot) for slot in running.rows(
        "SELECT slot_ns FROM runs r JOIN job_state j ON j.id = r.job WHERE j.name = 'often' ORDER BY slot_ns"
    )]  # fmt: skip
    assert [500_000_000] * (len(slots) - 1) == [after - slot for slot, after in pairwise(slots)]
    assert len(set(running.lines("slots"))) == len(running.lines("slots"))
    # Others may wait for a CPU at the stop, and be left for the next start.
    assert running.rows("SELECT id FROM runs WHERE state IN ('running', 'lost')") == []
    assert "Traceback" not in running.log


def test_jobs_go_on_through_an_upgrade_from_the_version_before(directory: Path, earlier: Path) -> None:
    with Upgraded(directory, earlier) as running:
        running.wait_for("slots", lines=3)
        running.wait_for("long")
        running.wait_for("failing")
        running.taskman("once", "--at", "2099-01-01 00:00", "--name", "far", "true")
        running.taskman("pause", "crontab", "--reason", "until then")
        running.upgrade(HERE)
        running.restart()
        assert "reading the job files again: an earlier version kept the jobs" in running.log
        assert "far" in running.taskman("list", "--once")
        assert "until then" in running.taskman("show", "crontab")
        running.restart()  # and it does not have to be read another time
        assert running.log.count("reading the job files again") == 1
        check_all_is_there(running)


def test_jobs_continue_when_the_modules_move_under_a_running_supervisor(
    directory: Path, before_the_move: Path
) -> None:
    with Upgraded(directory, before_the_move) as running:
        running.wait_for("slots", lines=3)
        running.wait_for("long")
        running.wait_for("failing")
        running.taskman("once", "--at", "2099-01-01 00:00", "--name", "far", "true")
        running.upgrade(HERE)
        before = running.scheduler_pid()
        # The supervisor starts the next scheduler by the old name, however the last one ended.
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: running.scheduler_pid() != before, what="another scheduler")
        running.wait_for_answer()
        running.restart()
        assert "far" in running.taskman("list", "--once")
        check_all_is_there(running)


def test_a_command_of_the_supervisor_before_is_cancelled(directory: Path, earlier: Path) -> None:
    with Upgraded(directory, earlier) as running:
        running.wait_for("long")
        running.upgrade(HERE)
        running.restart()
        running.taskman("cancel", "long")
        pid = int(running.lines("long")[0])
        wait_until(lambda: not is_alive(pid), what="its end")
        running.wait_for_log("long: cancelled")
        assert "cannot carry out" not in running.log
        running.path("go").touch()
        running.taskman("stop")
        assert running.end() == 0


def test_the_ledger_of_the_version_before_is_gone_on_with(directory: Path, earlier: Path) -> None:
    with Upgraded(directory, earlier) as running:
        running.wait_for("slots", lines=3)
        running.taskman("once", "--at", "2099-01-01 00:00", "--name", "far", "true")
        running.taskman("stop", "--now")
        assert running.end() == 0 or "killed" in running.log
    runs = running.rows("SELECT id FROM runs")
    running.upgrade(HERE)
    running.path("go").touch()
    again = Running.__new__(Upgraded)
    again.current = running.current
    Running.__init__(again, directory, JOBS)
    with again:
        again.wait_for_answer()
        assert "far" in again.taskman("list", "--once")
        before = len(again.lines("slots"))
        again.wait_for("slots", lines=before + 2)
        again.taskman("stop")
        assert again.end() == 0
        assert set(runs) <= set(again.rows("SELECT id FROM runs"))
        assert [path.name for path in (directory / "state").glob("*broken*")] == []
        assert "Traceback" not in again.log


def test_jobs_go_on_in_a_version_whose_jobs_have_gained_a_field(directory: Path, later: Path) -> None:
    with Upgraded(directory, HERE) as running:
        running.wait_for("slots", lines=3)
        running.wait_for("long")
        running.wait_for("failing")
        # What was read is gone on with, whatever became of the file.
        running.path("jobs.toml").write_text("broken")
        running.upgrade(later)
        assert json.loads(running.taskman("show", "long", "--json"))["job"]["job"] == "long"
        running.restart()
        running.wait_for_log("gained: {(7, 9)} 8 10")
        assert "reading the job files again" not in running.log
        check_all_is_there(running)


def test_jobs_go_on_when_the_version_is_put_back(directory: Path, later: Path) -> None:
    with Upgraded(directory, later) as running:
        running.wait_for("slots", lines=3)
        running.wait_for("long")
        running.wait_for("failing")
        running.upgrade(HERE)
        running.restart()
        running.wait_for_log("reading the job files again")
        check_all_is_there(running)


def test_a_request_with_what_the_scheduler_does_not_know_says_what_to_do(directory: Path) -> None:
    with Upgraded(directory, HERE) as running:
        running.wait_for_answer()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(directory / "state" / "taskman.sock"))
            sock.sendall(b'{"v": 1, "do": "show", "job": "long", "gained": 12}\n')
            reply = json.loads(sock.makefile().readline())
        assert reply["ok"] is False
        assert "taskman restart" in reply["error"]
        running.send(signal.SIGTERM)
        assert running.end() == 0
