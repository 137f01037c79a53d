"""A running scheduler, and what people do to it from a second terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from e2e.running import TASKMAN, Running

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
[jobs.job]
every = "1h"
tags = ["some"]
command = "echo $GREETING >> marks"
[jobs.group]
every = "1h"
[jobs.group.tasks]
a = "echo >> begun; sleep 600"
b = "sleep 600"
"""


def ask(directory: Path, *arguments: str, code: int = 0) -> str:
    """Run a command against the scheduler, and return what it printed."""
    done = subprocess.run(
        [TASKMAN, *arguments],
        cwd=directory,
        env=os.environ | {"STATE_DIRECTORY": str(directory / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert code == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_what_people_do_to_a_running_scheduler(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("2 jobs from")
        ask(tmp_path, "trigger", "job", "--env", "GREETING=hello", "--wait")
        assert ["hello"] == running.lines("marks")
        ask(tmp_path, "trigger", "nosuch", code=4)
        ask(tmp_path, "pause", "--tag", "some", "--reason", "tea")
        [job] = json.loads(ask(tmp_path, "list", "--tag", "some", "--json"))
        assert ("paused", "tea") == (job["state"], job["pause"]["reason"])
        os.kill(running.scheduler_pid(), signal.SIGKILL)
        running.wait_for_log("starting it again")
        assert 1 == json.loads(ask(tmp_path, "status", "--json"))["paused"]
        ask(tmp_path, "resume", "--all")
        ask(tmp_path, "trigger", "group")
        running.wait_for("begun")
        ask(tmp_path, "cancel", "group.a")
        ask(tmp_path, "cancel", "group")
        ask(tmp_path, "once", "--wait", "exit 7", code=7)
        ask(tmp_path, "remove", "group.b")
        assert "b = " not in ask(tmp_path, "show", "group", "--toml")
        ask(tmp_path, "restore")
        assert "sleep 600" in ask(tmp_path, "show", "group", "--toml")
        running.path("jobs.toml").write_text("[jobs.job]\nevery = junk")
        ask(tmp_path, "reload", code=2)
        running.path("jobs.toml").write_text('[jobs.other]\ncron = "0 4 * * *"\ncommand = "true"')
        ask(tmp_path, "reload")
        assert ask(tmp_path, "reload").startswith("nothing changed")
        assert ["other"] == [job["job"] for job in json.loads(ask(tmp_path, "list", "--json"))]
        ask(tmp_path, "stop")
        assert 0 == running.end()
        ask(tmp_path, "status", code=3)
