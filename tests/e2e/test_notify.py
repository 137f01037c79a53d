"""What a service manager hears of the real program, from its start to its end."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

from command_line import call
from e2e.running import Running
from service_manager import Listening
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
    [jobs.wait]
    cron = "0 0 1 1 *"
    timezone = "UTC"
    command = "env > variables; echo begun >> begun; until test -e go; do sleep 0.05; done"
"""


def taskman(directory: Path, *arguments: str) -> int:
    """Run a command of taskman; return its exit code."""
    return call([*arguments, "--state-dir", str(directory / "state")], cwd=directory).returncode


def test_a_service_manager_hears_what_goes_on(tmp_path: Path) -> None:
    with Listening(tmp_path) as manager:
        environ = os.environ | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
        with Running(tmp_path, JOBS, environ=environ) as running:
            manager.wait_for("READY=1")
            assert re.fullmatch(r"STATUS=idle, next wait at \d{4}-01-01 \d\d:00", manager.wait_for("STATUS"))
            assert taskman(tmp_path, "trigger", "wait") == 0
            running.wait_for("begun")
            manager.wait_for("STATUS=1 running, next wait at ")
            names = {line.partition("=")[0] for line in running.lines("variables")}
            assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & names == set()
            assert "TASKMAN_RUN_ID" in names

            assert taskman(tmp_path, "reload") == 0
            manager.wait_for("RELOADING=1")
            manager.wait_for("READY=1", count=2)
            running.path("jobs.toml").write_text("[jobs.wait]\n")
            assert taskman(tmp_path, "reload") == 2
            manager.wait_for("READY=1", count=3)
            manager.wait_for("STATUS=1 running, next wait at 2")
            wait_until(lambda: manager.heard()[-1] and _is_told(manager), what="the errors in a status")

            before = running.scheduler_pid()
            assert taskman(tmp_path, "restart") == 0
            wait_until(lambda: running.scheduler_pid() != before)
            running.wait_for_log("taking over 1 run")
            assert taskman(tmp_path, "stop", "--drain", "--no-wait") == 0
            manager.wait_for("STOPPING=1")
            manager.wait_for("EXTEND_TIMEOUT_USEC=")
            manager.wait_for("STATUS=stopping, 1 may finish")
            manager.wait_for("WATCHDOG=1")
            running.path("go").touch()
            assert running.end() == 0
        assert manager.kinds().count("STOPPING") == 1


def test_why_a_scheduler_cannot_begin_is_in_the_status(tmp_path: Path) -> None:
    with Listening(tmp_path) as manager:
        environ = os.environ | {"NOTIFY_SOCKET": manager.address}
        with Running(tmp_path, JOBS, environ=environ) as running:
            manager.wait_for("READY=1")
            running.send(signal.SIGSTOP)
            running.kill_scheduler()
            with closing(sqlite3.connect(tmp_path / "state/ledger.db")) as connection:
                connection.executescript("CREATE TABLE x (y); PRAGMA application_id = 7")
            running.send(signal.SIGCONT)
            why = r"STATUS=the scheduler died .*; starting it again in .* s: .* a database of another"
            wait_until(
                lambda: any(re.match(why, text) for text in manager.heard()),
                what=lambda: f"why it died: {manager.heard()} {running.log}",
            )


def test_the_socket_is_in_the_runtime_directory_for_as_long_as_it_is_there(tmp_path: Path) -> None:
    runtime, link = tmp_path / "runtime", tmp_path / "state" / "taskman.sock"
    runtime.mkdir(mode=0o700)
    with Running(tmp_path, JOBS, environ=os.environ | {"RUNTIME_DIRECTORY": str(runtime)}) as running:
        running.wait_for_log("the state is kept in")
        assert link.readlink() == runtime / "taskman.sock"
        assert taskman(tmp_path, "status") == 0
        running.kill_scheduler()
        running.wait_for_log("starting it again")
        wait_until(lambda: taskman(tmp_path, "status") == 0, what="the next scheduler")
        assert link.readlink() == runtime / "taskman.sock"
        (runtime / "taskman.sock").unlink()
        runtime.rmdir()
        assert taskman(tmp_path, "restart") == 0
        wait_until(link.is_socket, what="a socket without the directory")
        assert taskman(tmp_path, "stop") == 0
        assert running.end() == 0
    assert not link.exists()


def _is_told(manager: Listening) -> bool:
    return any(text.endswith("; the job files have errors") for text in manager.heard())


def test_a_status_is_not_told_at_each_start(tmp_path: Path) -> None:
    jobs = '[pool]\nadmission = "fixed"\n[jobs.tick]\nevery = "50ms"\ncommand = ["sh", "-c", "echo >> ticks"]'
    with Listening(tmp_path) as manager:
        environ = os.environ | {"NOTIFY_SOCKET": manager.address}
        with Running(tmp_path, jobs, environ=environ) as running:
            running.wait_for("ticks", lines=40)
            count = manager.kinds().count("STATUS")
            pid = str(running.process.pid)
            seconds = int(subprocess.check_output(["ps", "-o", "etimes=", "-p", pid]))
            # One at the beginning, and then one in two seconds.
            assert 1 <= count <= 2 + seconds // 2
            running.send(signal.SIGTERM)
            assert running.end() == 0
