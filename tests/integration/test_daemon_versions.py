"""The scheduler's process under a supervisor of another version."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.scheduler.options import Options
from taskman_cli.scheduler.requests.service import JOBS, OLD_JOBS
from taskman_cli.supervisor.wire import FD_VARIABLE, PROTOCOL_VERSION, Channel

if TYPE_CHECKING:
    from pathlib import Path


def greeted(directory: Path, jobs: str, **facts: Any) -> tuple[str, list[Any]]:
    """Return what a scheduler prints and says that is greeted like this and can stop at once."""
    (directory / "jobs.toml").write_text(jobs)
    options = Options(("jobs.toml",), str(directory), run_for_ns=1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "taskman_cli.scheduler", options.to_json()],
            cwd=directory, env=os.environ | {FD_VARIABLE: str(theirs.fileno())}, pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        theirs.close()
        channel = Channel(ours)
        usual = {
            "version": PROTOCOL_VERSION, "generation": 1, "started_ns": 1, "scheduler_ended_ns": 1,
            "is_complete": True, "kept": {}, "attempts": [],
        }  # fmt: skip
        channel.send([("hello", usual | facts)])
        _, stderr = process.communicate(timeout=30)
        said: list[Any] = []
        while (messages := channel.receive()) is not None:
            said += messages
        return stderr, said


def test_it_says_what_to_do_where_they_do_not_understand_each_other(tmp_path: Path) -> None:
    stderr, said = greeted(tmp_path, "", version=99)
    assert "another version of taskman" in stderr
    assert "Traceback" not in stderr
    assert said == [], "commands that run keep their supervisor"


@pytest.mark.parametrize(
    "kept", [{OLD_JOBS: b"\x80\x04K\x01."}, {JOBS: b"garbage"}, {JOBS: 3}], ids=["old", "bytes", "int"]
)
def test_what_was_kept_and_cannot_be_read_is_replaced_by_what_the_files_say(
    tmp_path: Path, kept: Any
) -> None:
    stderr, said = greeted(tmp_path, "[jobs]\na = '@yearly true'\n", kept=kept)
    assert stderr.count("reading the job files again") == 1
    assert "1 job from jobs.toml" in stderr
    assert "Traceback" not in stderr
    replaced = {message[1]: message[2] for message in said if message[0] == "keep"}
    assert isinstance(replaced[JOBS], bytes)
    assert replaced.get(OLD_JOBS) is None
    assert said[-1] == ("exit", 0)


def test_where_they_cannot_be_read_either_the_supervisor_lives_on(tmp_path: Path) -> None:
    stderr, said = greeted(tmp_path, "broken", kept={JOBS: b"garbage"})
    assert "jobs.toml:1" in stderr
    (trouble,) = said  # and not that it is to end
    assert trouble[:2] == ("report", "trouble")


def test_options_of_another_version_are_taken_as_far_as_they_are_known() -> None:
    text = '{"files": ["a.toml"], "state_directory": "/s", "is_new": true}'
    assert Options(("a.toml",), "/s") == Options.from_json(text)
