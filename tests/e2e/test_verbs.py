"""Each verb from a second terminal, against one scheduler that runs for all of these tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from e2e.running import TASKMAN, Running, kill
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = """
[taskman]
include = ["jobs.d/*.toml"]
[pool]
max_workers = 8
[jobs.quick]
every = "1h"
command = "echo $GREETING $TASKMAN_TASK $TASKMAN_TRIGGER >> quick"
[jobs.tagged]
every = "1h"
tags = ["night"]
command = "true"
[jobs.ticking]
every = "200ms"
command = "echo >> ticks"
[jobs.long]
every = "1h"
command = "echo $$ >> long; exec sleep 600"
[jobs.group]
every = "1h"
[jobs.group.tasks]
a = "echo >> group-a; exec sleep 600"
b = "echo >> group-b; exec sleep 600"
[jobs.leaving]
every = "1h"
command = "true"
[jobs.failing]
every = "1h"
command = "sleep 0.3; exit 3"
"""


class Verbs(Running):
    """A scheduler, and commands to it."""

    def ask(self, *arguments: str, code: int = 0, **options: Any) -> str:
        """Run a command, and return what it printed."""
        done = self.command(*arguments, **options)
        assert code == done.returncode, done.stdout + done.stderr
        return done.stdout

    def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        settings = {"stdin": subprocess.DEVNULL, "env": self.environ} | options
        return subprocess.run(
            [TASKMAN, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=30,
            check=False, **settings,
        )  # fmt: skip

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"STATE_DIRECTORY": str(self.directory / "state")}

    def job(self, name: str) -> dict[str, Any]:
        """Return a job as `list` tells of it."""
        jobs: list[dict[str, Any]] = json.loads(self.ask("list", "--json"))
        return next(job for job in jobs if job["job"] == name)

    def trigger(self, job: str) -> str:
        """Trigger a job, and return the run."""
        return self.ask("trigger", job).split()[2]

    def once(self, delay: str, command: str) -> str:
        """Ask for a one-hit job after a while, and return its name."""
        return self.ask("once", "--in", delay, command).split()[0]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind, in order."""
        lines = self.ask("events", "--json", "-n", "0").splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture(scope="module")
def taskman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    directory = tmp_path_factory.mktemp("verbs")
    with Verbs(directory, JOBS) as running:
        running.wait_for_log("7 jobs from")
        yield running


def test_status(taskman: Verbs) -> None:
    status = json.loads(taskman.ask("status", "--json"))
    assert (7, taskman.process.pid) == (status["jobs"], status["pid"])
    assert [str(taskman.path("jobs.toml"))] == status["files"]
    assert "jobs" in taskman.ask("status")


def test_list(taskman: Verbs) -> None:
    assert ["tagged"] == [job["job"] for job in json.loads(taskman.ask("list", "--tag", "night", "--json"))]
    assert [] == json.loads(taskman.ask("list", "--once", "--json"))
    assert "nothing found" in taskman.command("list", "--tag", "nigth").stderr


def test_show(taskman: Verbs) -> None:
    text = taskman.ask("show", "tagged")
    line = 1 + taskman.lines("jobs.toml").index("[jobs.tagged]")
    assert f"{taskman.path('jobs.toml')}:{line}" in text
    definition = tomllib.loads(taskman.ask("show", "tagged", "--toml"))["jobs"]["tagged"]
    assert ["night"] == definition["tags"]
    assert "tagged" in taskman.command("show", "taged").stderr


def test_trigger(taskman: Verbs) -> None:
    taskman.ask("trigger", "quick", "--env", "GREETING=hello", "--wait")
    assert "hello main manual" == taskman.lines("quick")[-1]
    assert 3 == taskman.command("trigger", "failing", "--wait").returncode
    slot = taskman.job("tagged")["slot"]
    taskman.ask("trigger", "tagged", "--instead", "--wait")
    assert taskman.job("tagged")["slot"] != slot
    taskman.ask("trigger", "nosuch", code=4)


def test_pause_and_resume(taskman: Verbs) -> None:
    taskman.wait_for("ticks")
    taskman.ask("pause", "ticking", "--for", "10m", "--reason", "tea")
    before = len(taskman.lines("ticks"))
    job = taskman.job("ticking")
    assert ("paused", "tea") == (job["state"], job["pause"]["reason"])
    kill(taskman.scheduler_pid(), signal.SIGKILL)
    wait_until(lambda: taskman.command("status").returncode == 0, what="the next scheduler")
    assert "paused" == taskman.job("ticking")["state"]
    assert len(taskman.lines("ticks")) <= before + 1
    taskman.ask("resume", "ticking")
    taskman.wait_for("ticks", lines=before + 3)
    [paused, *_] = taskman.events("paused")
    assert f"uid {os.getuid()}, pid " in paused["data"]["by"]


def test_cancel(taskman: Verbs) -> None:
    run = taskman.trigger("long")
    taskman.wait_for("long")
    taskman.ask("cancel", run, "--wait")
    assert [("cancelled", 15)] == [
        (row["state"], row["signal"]) for row in json.loads(taskman.ask("history", "long", "--json"))
    ]
    taskman.ask("trigger", "group")
    taskman.wait_for("group-a")
    taskman.wait_for("group-b")
    taskman.ask("cancel", "group.a")
    wait_until(lambda: ["group"] == _running(taskman), what="one task of the group")
    taskman.ask("cancel", "group", "--now", "--wait")
    assert [] == _running(taskman)
    assert "there is no job gruop" in taskman.command("cancel", "gruop").stderr
    taskman.ask("cancel", "group", code=4)


def _running(taskman: Verbs) -> list[str]:
    running = json.loads(taskman.ask("status", "--json"))["running"]
    return [row["job"] for row in running if row["job"] != "ticking"]


def test_wait(taskman: Verbs) -> None:
    taskman.ask("trigger", "failing")
    taskman.ask("wait", "failing", code=3)
    [row, *_] = json.loads(taskman.ask("history", "failing", "--json"))
    taskman.ask("wait", row["run"], code=3)
    idle = taskman.command("wait", "quick")
    assert (0, "nothing of quick runs or is queued" in idle.stderr) == (idle.returncode, True)
    assert "quick" in taskman.command("wait", "quikc").stderr
    taskman.ask("wait", "quikc", code=4)
    taskman.trigger("long")
    taskman.ask("wait", "long", "--timeout", "100ms", code=124)
    taskman.ask("cancel", "long", "--wait")


def test_once(taskman: Verbs) -> None:
    assert 7 == taskman.command("once", "--wait", "exit 7").returncode
    taskman.ask("once", "--wait", "--", "/bin/sh", "-c", "echo $0 > once", "--env")
    assert ["--env"] == taskman.lines("once")
    taskman.ask("once", "--wait", "--env", "KEY=a b", "echo $KEY >> once")
    assert "a b" == taskman.lines("once")[-1]
    name = taskman.once("1h", "echo >> never")
    assert [name] == [job["job"] for job in json.loads(taskman.ask("list", "--once", "--json"))]
    taskman.ask("cancel", name)
    assert [] == json.loads(taskman.ask("list", "--once", "--json"))
    taskman.ask("once", "--at", "yesterday", "true", code=2)


def test_wait_for_a_one_hit_job_that_is_still_to_come(taskman: Verbs) -> None:
    name = taskman.once("1s", "exit 5")
    done = taskman.command("wait", name)
    assert (5, True) == (done.returncode, "is still to come" in done.stderr)


def test_once_with_bytes_that_are_no_text(taskman: Verbs) -> None:
    odd = {os.fsencode(key): os.fsencode(value) for key, value in taskman.environ.items()}
    odd[b"ODD"] = b"\xff\xfe"
    taskman.ask("once", "--wait", 'printf %s "$ODD" > odd', env=odd)
    assert b"\xff\xfe" == taskman.path("odd").read_bytes()


def test_once_survives_a_kill_and_runs_once(taskman: Verbs) -> None:
    name = taskman.once("2s", "echo >> survived")
    kill(taskman.scheduler_pid(), signal.SIGKILL)
    wait_until(lambda: taskman.command("status").returncode == 0, what="the next scheduler")
    taskman.command("wait", name)
    taskman.wait_for("survived")
    kill(taskman.scheduler_pid(), signal.SIGKILL)
    wait_until(lambda: taskman.command("status").returncode == 0, what="the next scheduler")
    assert 1 == len(taskman.lines("survived"))
    assert [] == json.loads(taskman.ask("list", "--once", "--json"))


def test_remove_and_restore(taskman: Verbs) -> None:
    taskman.ask("remove", "group.b")
    taskman.ask("remove", "leaving")
    kill(taskman.scheduler_pid(), signal.SIGKILL)
    wait_until(lambda: taskman.command("status").returncode == 0, what="the next scheduler")
    assert ["a"] == taskman.job("group")["tasks"]
    taskman.ask("show", "leaving", code=4)
    taskman.ask("restore")
    assert ["a", "b"] == taskman.job("group")["tasks"]
    assert "leaving" == taskman.job("leaving")["job"]


def test_add_and_reload(taskman: Verbs) -> None:
    slot = taskman.job("quick")["slot"]
    taskman.ask("add", "nightly", "--cron", "0 4 * * *", "--", "true")
    assert "cron" in taskman.ask("show", "nightly", "--toml")
    [added] = taskman.path("jobs.d").iterdir()
    text = added.read_text()
    added.write_text("[jobs.nightly]\nevery = junk")
    done = taskman.command("reload")
    assert (2, True) == (done.returncode, f"{added.name}:2:" in done.stderr)
    assert "nightly" == taskman.job("nightly")["job"]
    added.write_text(text)
    assert "nothing changed" in taskman.ask("reload")
    added.unlink()
    assert "nightly" in taskman.ask("reload")
    assert slot == taskman.job("quick")["slot"]


def test_reload_by_signal(taskman: Verbs) -> None:
    before = len(taskman.events("reloaded"))
    taskman.send(signal.SIGHUP)
    wait_until(lambda: len(taskman.events("reloaded")) > before, what="the reload")
    assert "SIGHUP" in taskman.events("reloaded")[-1]["data"]["by"]


def test_completion(taskman: Verbs) -> None:
    words = {"COMP_WORDS": "taskman why ta", "COMP_CWORD": "2", "_TASKMAN_COMPLETE": "bash_complete"}
    assert "plain,tagged" == taskman.ask(env=taskman.environ | words).strip()
    words["COMP_WORDS"] = "taskman cancel group."
    assert "group.a" in taskman.ask(env=taskman.environ | words)


def test_stop(tmp_path: Path) -> None:
    with Verbs(tmp_path, JOBS) as running:
        running.wait_for_log("7 jobs from")
        running.ask("trigger", "failing")
        running.ask("stop", "--drain")
        assert 0 == running.end()
        [stopped] = running.events("stopped")
        assert ("drain", True) == (stopped["detail"], f"uid {os.getuid()}" in stopped["data"]["by"])
        assert 3 == json.loads(running.ask("history", "failing", "--json"))[0]["exit_code"]
        running.ask("status", code=3)
        running.ask("stop", code=3)
        started = time.monotonic()
        assert 3 == running.command("wait", "failing").returncode
        assert time.monotonic() - started < 30
