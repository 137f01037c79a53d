"""`taskman pause --stop` with a real command: shown, not counted, and over a scheduler that is killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from command_line import call
from e2e.running import Running
from process_table import state_of
from wait import wait_until

JOBS = """
    [jobs.long]
    every = "1h"
    timeout = "3s"
    # It starts no other process: a shell that was stopped between vfork and exec would never be in state T.
    command = "echo $$ > pid; echo begun; read line < go; echo over"
"""


def taskman(directory: Path, *arguments: str) -> str:
    return call(
        [*arguments],
        env=os.environ | {"STATE_DIRECTORY": str(directory / "state")},
        cwd=directory,
        text=True,
        check=True,
    ).stdout


def test_a_command_that_is_stopped_for_longer_than_its_timeout_is_shown_and_goes_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("1 job from")
        run = taskman(tmp_path, "trigger", "long").split()[2]
        pid = int(running.wait_for("pid")[0])
        taskman(tmp_path, "pause", "long", "--stop")
        wait_until(lambda: state_of(pid) == "T", what="it to be stopped")
        assert "[stopped]" in taskman(tmp_path, "status")
        assert "stopped, paused" in taskman(tmp_path, "list")
        assert f"running (run {run}), stopped" in taskman(tmp_path, "status", "long")
        assert f"run {run}, stopped" in taskman(tmp_path, "show", "long")
        assert "It has been stopped since" in taskman(tmp_path, "why", "long")
        assert "stopped for" in taskman(tmp_path, "history", "long")
        running.kill_scheduler()
        running.wait_for_log("taking over 1 run")
        taken_over = json.loads(taskman(tmp_path, "status", "--json"))["running"][0]
        assert taken_over["note"] == "stopped"
        wait_until(
            lambda: json.loads(taskman(tmp_path, "status", "--json"))["running"][0]["stopped_s"] > 3,
            what="more than its timeout to pass",
        )
        assert state_of(pid) == "T"
        taskman(tmp_path, "resume", "long")
        running.path("go").write_text("\n")
        wait_until(lambda: "succeeded" in taskman(tmp_path, "history", "long"), what="its success")
        [row] = json.loads(taskman(tmp_path, "history", "long", "--json"))
        assert (row["state"], row["stopped_at"]) == ("succeeded", None)
        assert row["stopped_s"] > 3
        assert "of it" in taskman(tmp_path, "history", "long")
        assert "It was stopped for" in taskman(tmp_path, "why", "long")
        kinds = [json.loads(line)["kind"] for line in taskman(tmp_path, "events", "--json").splitlines()]
        assert [kind for kind in kinds if kind in ("stopped", "continued")] == ["stopped", "continued"]


CONSUMER = """
    [executors.c]
    type = "consumer"
    command = ["sh", "consumer"]

    [jobs.long]
    every = "1h"
    executor = "c"
    timeout = "2h"
    command = "x"
"""


def test_a_task_of_a_consumer_goes_on_and_all_say_so(tmp_path: Path) -> None:
    (tmp_path / "consumer").write_text(
        'while read -r line; do id=${line#*\\"id\\":}; id=${id#*\\"}\n'
        'printf \'{"type": "accepted", "id": "%s"}\\n\' "${id%%\\"*}"; done\n'
    )
    with Running(tmp_path, CONSUMER) as running:
        running.wait_for_log("1 job from")
        taskman(tmp_path, "trigger", "long")
        wait_until(lambda: "is running" in taskman(tmp_path, "why", "long"), what="it to have begun")
        taskman(tmp_path, "pause", "long", "--stop")
        running.wait_for_log("goes on, and its timeout does: a consumer's task cannot be stopped")
        for _ in range(2):
            [row] = json.loads(taskman(tmp_path, "status", "--json"))["running"]
            assert (row["note"], row["stopped_s"]) == ("goes on: it cannot be stopped", 0)
            assert "goes on: it cannot be stopped" in taskman(tmp_path, "status")
            assert "goes on: it cannot be stopped" in taskman(tmp_path, "list")
            assert "cannot be stopped: goes on" in taskman(tmp_path, "show", "long")
            assert "It goes on, and so does its timeout" in taskman(tmp_path, "why", "long")
            assert "stopped" not in taskman(tmp_path, "history", "long")
            os.kill(running.scheduler_pid(), signal.SIGKILL)
            running.wait_for_log("taking over 1 run")
        [why] = [
            row["data"]["why"]
            for row in map(json.loads, taskman(tmp_path, "events", "--json").splitlines())
            if row["kind"] == "continued"
        ]
        assert why == "a consumer's task cannot be stopped"


def test_a_command_that_is_stopped_ends_with_a_stop(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("1 job from")
        taskman(tmp_path, "trigger", "long")
        pid = int(running.wait_for("pid")[0])
        taskman(tmp_path, "pause", "long", "--stop")
        wait_until(lambda: state_of(pid) == "T", what="it to be stopped")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "cancelled (killed by SIGTERM)" in running.log
