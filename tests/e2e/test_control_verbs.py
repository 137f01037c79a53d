"""Each thing that people can do to a running scheduler, from a second terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import TASKMAN, Running, one_ahead
from process_table import state_of
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = """
[jobs.job]
every = "1h"
command = "echo $GREETING >> marks"
[jobs.long]
every = "1h"
kill_timeout = "10s"
command = "trap 'echo term >> marks; exit 9' TERM; echo >> begun; sleep 600 & wait"
[jobs.group]
every = "1h"
tasks = { a = "sleep 600", b = "sleep 600" }
"""


class Terminal:
    """A second terminal."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._env = os.environ | {"STATE_DIRECTORY": str(running.directory / "state")}
        self._env.pop("COLUMNS", None)  # as pytest-xdist sets it

    def start(self, *arguments: str | bytes) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [TASKMAN, *arguments], cwd=self.running.directory, env=self._env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, *arguments: str | bytes, code: int = 0) -> str:
        """Run a command, and return all that it said."""
        done = call(arguments, cwd=self.running.directory, env=self._env, text=True)
        said = str(done.stdout + done.stderr)
        assert code == done.returncode, said
        assert "Traceback" not in said
        return said

    def json(self, *arguments: str) -> Any:
        """Run a command that prints JSON."""
        return json.loads(self.ask(*arguments, "--json"))

    def state(self, job: str) -> str:
        """Return what a job does."""
        return next(str(item["state"]) for item in self.json("list") if item["job"] == job)

    def journal(self) -> list[dict[str, Any]]:
        """Return what is on record."""
        return [json.loads(line) for line in self.ask("events", "--json").splitlines()]

    def kill_scheduler(self) -> None:
        """Let the scheduler die; the next one listens when this returns."""
        self.running.kill_scheduler()
        wait_until(self.running.is_listening, what="a scheduler that listens")


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Running]]:
    with one_ahead(lambda: Running(tmp_path_factory.mktemp("terminal"), JOBS)) as take:
        yield take


@pytest.fixture
def terminal(take: Callable[[], Running]) -> Iterator[Terminal]:
    with take() as running:
        running.wait_for_log("3 jobs from")
        yield Terminal(running)


def test_status_list_and_show_tell_where_jobs_stand_and_are_defined(terminal: Terminal) -> None:
    assert terminal.json("status")["files"] == [str(terminal.running.path("jobs.toml"))]
    assert [item["job"] for item in terminal.json("list")] == ["job", "long", "group"]
    assert f"{terminal.running.path('jobs.toml')}:5\n" in terminal.ask("show", "long")


def test_the_error_of_an_unknown_name_suggests_the_nearest(terminal: Terminal) -> None:
    for verb in ("trigger", "pause", "resume", "cancel", "wait", "remove", "show"):
        assert 'did you mean "group"' in terminal.ask(verb, "gruop", code=4), verb
    assert "has no task c" in terminal.ask("cancel", "group.c", code=4)
    assert 'no job "a\\n\\x1b[31m"' in terminal.ask("pause", "a\n\x1b[31m", code=4)
    assert 'no job has the tag "bd"' in terminal.ask("pause", "--tag", "bd", code=4)
    assert "longer than a hundred years" in terminal.ask("pause", "job", "--for", "99999d", code=2)
    assert "nothing of nosuch was removed" in terminal.ask("restore", "nosuch", code=4)


def test_trigger_follows_the_output_and_gives_the_code(terminal: Terminal) -> None:
    terminal.ask("trigger", "job", "--env", "GREETING=hello", "--wait")
    assert terminal.running.lines("marks") == ["hello"]
    before = terminal.json("list")[0]["due"]
    terminal.ask("trigger", "job", "--instead", "--wait")
    assert before != terminal.json("list")[0]["due"]


def test_a_pause_survives_a_restart_and_ends_by_itself(terminal: Terminal) -> None:
    terminal.ask("pause", "job", "--for", "1h", "--reason", b"caf\xe9")
    [job] = terminal.json("list", "--state", "paused")
    assert (job["job"], job["pause"]["reason"]) == ("job", "caf\udce9")
    assert f"uid {os.geteuid()}" in job["pause"]["by"]
    terminal.kill_scheduler()
    assert terminal.state("job") == "paused"
    terminal.ask("pause", "job", "--for", "1s")
    wait_until(lambda: terminal.state("job") == "waiting", what="the end of the pause")


def test_resume_continues_stopped_commands(terminal: Terminal) -> None:
    terminal.ask("trigger", "long")
    terminal.running.wait_for("begun")
    [row] = terminal.json("status")["running"]
    terminal.ask("pause", "long", "--stop")
    wait_until(lambda: state_of(row["pid"]) == "T", what="a stopped command")
    terminal.ask("resume", "--all")
    wait_until(lambda: state_of(row["pid"]) != "T", what="a command that goes on")


def test_cancel_ends_a_run_by_its_id_with_its_signal(terminal: Terminal) -> None:
    terminal.ask("trigger", "long")
    terminal.running.wait_for("begun")
    [run] = [item["running"] for item in terminal.json("list") if item["job"] == "long"]
    terminal.ask("cancel", *run, "--wait")
    assert terminal.running.lines("marks") == ["term"]
    assert terminal.json("history", "long")[0]["state"] == "cancelled"


def test_cancel_of_one_task_lets_the_other_run(terminal: Terminal) -> None:
    terminal.ask("trigger", "group")
    terminal.ask("cancel", "group.a", "--now")
    wait_until(lambda: len(terminal.json("status")["running"]) == 1, what="the end of a task")
    assert [row["task"] for row in terminal.json("status")["running"]] == ["b"]


def test_wait_continues_when_the_scheduler_dies(terminal: Terminal) -> None:
    terminal.ask("once", "--name", "later", "while ! test -e go; do sleep 0.05; done; exit 7")
    waiting = terminal.start("wait", "later")
    wait_until(lambda: terminal.state("later") == "running", what="the run")
    terminal.kill_scheduler()
    assert "not ended yet" in terminal.ask("wait", "later", "--timeout", "100ms", code=124)
    terminal.running.path("go").touch()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 7


def test_wait_for_what_is_still_to_come_and_for_what_is_idle(terminal: Terminal) -> None:
    assert "job has no running or queued run" in terminal.ask("wait", "job")
    terminal.ask("once", "--in", "3s", "--name", "soon", "exit 5")
    assert "failed (exit 5)" in terminal.ask("wait", "soon", code=5)


def test_once_survives_a_kill_and_runs_once(terminal: Terminal) -> None:
    terminal.ask("once", "--in", "2s", "--name", "soon", "echo ran >> marks")
    terminal.kill_scheduler()
    terminal.running.wait_for("marks")
    terminal.kill_scheduler()
    terminal.ask("wait", "soon")
    assert [(row["job"], row["state"]) for row in terminal.json("history", "soon")] == [("soon", "succeeded")]
    assert terminal.json("list", "--once") == []
    assert terminal.running.lines("marks") == ["ran"]


def test_once_that_is_cancelled_never_runs(terminal: Terminal) -> None:
    terminal.ask("once", "--in", "1h", "--name", "later", "echo ran >> marks")
    assert "later: cancelled before its time" in terminal.ask("cancel", "later")
    assert terminal.json("list", "--once") == []


def test_once_that_waits_for_a_low_load_survives_and_can_be_run_all_the_same(terminal: Terminal) -> None:
    told = terminal.ask("once", "--batch", "--in", "1h", "--name", "slow", "echo ran >> marks")
    assert "when the load is low" in told
    terminal.kill_scheduler()
    [job] = terminal.json("list", "--once")
    assert (job["state"], job["pause"]["reason"]) == ("paused", "until the load is low")
    terminal.ask("trigger", "slow", "--wait")
    assert terminal.running.lines("marks") == ["ran"]


def test_once_accepts_bytes_that_are_not_text(terminal: Terminal) -> None:
    script = b"test \"$(printf '%s' '\xff\xfe' | od -An -tx1)\" = ' ff fe'"
    terminal.ask("once", "--wait", "--env", b"ODD=\xff", script)
    terminal.kill_scheduler()
    assert terminal.json("history", "once-1")[0]["state"] == "succeeded"


def test_once_does_not_reuse_a_name_that_is_in_the_history(terminal: Terminal) -> None:
    terminal.ask("once", "--wait", "true")
    wait_until(lambda: not terminal.json("list", "--once"), what="the end of the first")
    assert terminal.ask("once", "--wait", "true").startswith("once-2  ")
    terminal.kill_scheduler()
    assert terminal.ask("once", "--wait", "true").startswith("once-3  ")
    assert len(terminal.json("history", "once-1")) == 1


def test_remove_and_restore_a_task_and_a_job(terminal: Terminal) -> None:
    terminal.ask("remove", "group.a")
    terminal.ask("remove", "group.b")
    for verb in ("trigger", "pause", "cancel", "show"):
        assert "`taskman restore group` brings it back" in terminal.ask(verb, "group", code=4)
    terminal.kill_scheduler()
    terminal.ask("reload")
    assert [item["job"] for item in terminal.json("list")] == ["job", "long"]
    terminal.ask("restore")
    assert terminal.json("list")[2]["tasks"] == ["a", "b"]


def test_reload_takes_all_or_nothing_and_keeps_what_runs(terminal: Terminal) -> None:
    terminal.ask("trigger", "long")
    terminal.running.wait_for("begun")
    jobs = terminal.running.path("jobs.toml")
    jobs.write_text(JOBS + "[jobs.new]\nevery = junk\n")
    assert "jobs.toml:13:" in terminal.ask("reload", code=2)
    assert len(terminal.json("list")) == 3
    jobs.write_text(JOBS.replace("[jobs.job]", "[jobs.new]"))
    assert terminal.ask("reload") == "added new\nremoved job\n"
    assert terminal.state("long") == "running"


def test_add_writes_a_file_that_is_included(terminal: Terminal) -> None:
    terminal.running.path("jobs.d").mkdir()
    terminal.running.path("jobs.toml").write_text('[taskman]\ninclude = ["jobs.d/*.toml"]\n' + JOBS)
    terminal.ask("reload")
    terminal.ask("add", "tidy", "--cron", "0 3 * * *", "--", "echo", "a b")
    assert terminal.state("tidy") == "waiting"
    assert terminal.running.path("jobs.d/tidy.toml").exists()


def test_remove_delete_undoes_add(terminal: Terminal) -> None:
    directory = terminal.running.directory
    jobs = (directory / "jobs.toml").read_text()
    (directory / "jobs.toml").write_text(jobs + '\n[taskman]\ninclude = ["jobs.d/*.toml"]\n')
    terminal.ask("reload")
    terminal.ask("add", "new", "--every", "1h", "sleep 600")
    run = terminal.json("trigger", "new")["run"]
    file = directory / "jobs.d" / "new.toml"
    reply = terminal.json("remove", "--delete", "--cancel", "new")
    assert reply == {"job": "new", "task": None, "runs": [run], "deleted": str(file)}
    assert [*file.parent.iterdir()] == []
    assert "new" not in [item["job"] for item in terminal.json("list")]
    assert "nothing of new was removed" in terminal.ask("restore", "new", code=4)
    terminal.ask("wait", run, code=1)
    # What was removed and then deleted by hand can be added again.
    terminal.ask("add", "new", "--every", "1h", "true")
    terminal.ask("remove", "new")
    file.unlink()
    assert "added new" in terminal.ask("add", "new", "--every", "2h", "true")
    assert [item["schedule"] for item in terminal.json("list") if item["job"] == "new"] == ["every 2h"]


def test_remove_delete_touches_no_file_that_defines_more(terminal: Terminal) -> None:
    directory = terminal.running.directory
    more = directory / "jobs.d" / "more.toml"
    more.parent.mkdir()
    more.write_text('[jobs]\none = "@daily true"\ntwo = "@daily true"\n')
    jobs = (directory / "jobs.toml").read_text()
    (directory / "jobs.toml").write_text(jobs + '\n[taskman]\ninclude = ["jobs.d/*.toml"]\n')
    terminal.ask("reload")
    assert "does not define one alone" in terminal.ask("remove", "--delete", "one", code=1)
    assert "that taskman was started with" in terminal.ask("remove", "--delete", "job", code=1)
    assert "not a task" in terminal.ask("remove", "--delete", "group.a", code=2)
    alone = directory / "jobs.d" / "alone.toml"
    alone.write_text('[jobs.alone]\nevery = "1h"\ncommand = "true"\n')
    terminal.ask("reload")
    more.write_text("this is an error")
    terminal.ask("remove", "--delete", "alone", code=2)
    assert sorted(path.name for path in more.parent.iterdir()) == ["alone.toml", "more.toml"]
    assert terminal.state("alone") == "waiting"


@pytest.mark.parametrize("when", [(), ("--in", "1s")], ids=["now", "later"])
def test_once_follow_prints_the_output_and_exits_with_the_code(
    when: tuple[str, ...], terminal: Terminal
) -> None:
    process = terminal.start("once", "--follow", *when, "echo begun; sleep 0.3; echo done; exit 7")
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("begun\ndone\n", 7)
    assert err.splitlines()[-1].endswith("failed (exit 7)")


def test_ctrl_c_stops_following_and_leaves_the_command_alone(terminal: Terminal) -> None:
    process = terminal.start("once", "--name", "slow", "--follow", "echo begun; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "taskman: the command is left alone; to cancel it: taskman cancel slow"
    assert terminal.state("slow") == "running"


def test_ctrl_c_before_the_time_leaves_the_job_scheduled(terminal: Terminal) -> None:
    process = terminal.start("once", "--name", "later", "--in", "1h", "--follow", "true")
    assert process.stderr is not None
    assert "in 1h" in process.stderr.readline() or "59m" in terminal.ask("list", "--once")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "taskman: the command is left alone; to cancel it: taskman cancel later" in err
    assert terminal.state("later") == "waiting"


def test_once_follow_ends_if_the_job_is_cancelled_before_its_time(terminal: Terminal) -> None:
    process = terminal.start("once", "--name", "never", "--in", "1h", "--follow", "true")
    assert process.stderr is not None
    process.stderr.readline()
    terminal.ask("cancel", "never")
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 1)
    assert err == "taskman: never was cancelled (before its time)\n"


def test_once_follow_goes_on_when_the_scheduler_dies(terminal: Terminal) -> None:
    process = terminal.start("once", "--name", "hardy", "--in", "1s", "--follow", "echo out; exit 5")
    assert process.stderr is not None
    process.stderr.readline()
    terminal.kill_scheduler()
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("out\n", 5)


def test_stop_is_recorded_with_the_user_who_requested_it(terminal: Terminal) -> None:
    terminal.ask("trigger", "long")
    terminal.running.wait_for("begun")
    terminal.ask("stop", "--drain", "--no-wait")
    assert "is stopping" in terminal.ask("trigger", "job", code=1)
    terminal.ask("stop")
    assert terminal.running.end() == 0
    assert terminal.running.lines("marks") == ["term"]
    told = [event for event in terminal.journal() if event["kind"] == "stopping"]
    assert len(told) == 2
    assert f"uid {os.geteuid()}" in str(told[0])
