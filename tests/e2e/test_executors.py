"""Attempts that an executor carries out, with the real program: ends, signals, crashes of every process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.running import Running, hurried
from process_table import children, command_line, is_alive, kill, kill_group
from stand_in_executor import installed
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.timeout(120)


#: Writes for ever, and little.
_CHATTY = "while :; do echo y; sleep 0.02; done"


def jobs(directory: Path, *tables: str, settings: str = "") -> str:
    """Return a job file with an executor `far`, and jobs that have it."""
    return (
        f'[executors.far]\ntype = "stand-in"\ndirectory = "{directory / "far"}"\n{settings}\n'
        '[defaults]\nexecutor = "far"\nkill_timeout = "1s"\n' + "\n".join(tables)
    )


def job(name: str, command: str, *keys: str) -> str:
    """Return the table of a job that runs at the start of the program only."""
    lines = [f"[jobs.{name}]", 'cron = "0 0 1 1 *"', f"command = '''{command}'''", *keys]
    return "\n".join([*lines, "run_on_start = true"]) + "\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Return what starts the program with a job file; it is ended after the test."""
    begun: list[Running] = []

    def begin(
        *tables: str, settings: str = "", options: tuple[str, ...] = (), numbers: Mapping[str, float] = {}
    ) -> Running:
        environ = hurried(numbers, installed(tmp_path / "plug", os.environ))
        program = Running(tmp_path, jobs(tmp_path, *tables, settings=settings), *options, environ=environ)
        begun.append(program)
        return program

    yield begin
    for program in reversed(begun):
        program.__exit__(None, None, None)
    for file in (tmp_path / "far").glob("*.pid"):
        with suppress(ValueError):
            kill_group(int(file.read_text()))


def helper(program: Running) -> int:
    """Return the pid of the process of the executor."""

    def find() -> int | None:
        for pid in children(program.process.pid):
            if "taskman_cli.executors.process" in command_line(pid):
                return pid
        return None

    return wait_until(find, what=f"the process of the executor: {program.log}")


def started(program: Running) -> list[str]:
    return program.lines("far/started")


def test_a_job_runs_on_its_executor_and_its_output_and_exit_code_come_back(
    start: Any, tmp_path: Path
) -> None:
    program = start(job("a", "echo hello; exit 3"))
    program.wait_for_log("a: failed")
    assert "exit 3" in program.log
    [output] = [path for path in (tmp_path / "state/output/a").iterdir() if path.is_file()]
    assert output.read_text() == "hello\n"
    [handle] = started(program)
    run = handle.split(".")[1]
    assert handle.split(".")[2:] == ["main", "1"]
    assert run in program.log
    assert program.wait_for("far/forgotten") == [handle]


def test_a_success_says_that_it_ran_there(start: Any) -> None:
    program = start(job("a", "true"))
    program.wait_for_log("a: succeeded")


def test_timeout_and_kill_reach_what_runs_there(start: Any) -> None:
    program = start(job("a", "trap : TERM; sleep 100 & wait; sleep 100", 'timeout = "300ms"'))
    program.wait_for_log("a: timed out")


def test_an_exception_fails_its_attempt_and_no_other(start: Any) -> None:
    program = start(job("a", "raise no luck"), job("b", "sleep 0.3; echo done"), job("c", "leave"))
    program.wait_for_log("RuntimeError: no luck")
    program.wait_for_log("SystemExit: 3")
    program.wait_for_log("b: succeeded")


def test_what_was_not_begun_fails_in_words(start: Any) -> None:
    program = start(job("a", "refuse no such thing"), job("b", "raise-unstarted oops"))
    program.wait_for_log("executor far: no such thing")
    program.wait_for_log("executor far: RuntimeError: oops")


def test_an_executor_that_cannot_be_made_fails_its_attempts_in_words(start: Any) -> None:
    program = start(job("a", "true"), settings="broken = true")
    program.wait_for_log('type "stand-in" fails: RuntimeError: not in the mood')


def test_a_run_goes_on_when_the_scheduler_is_killed(start: Any) -> None:
    program = start(job("a", "while [ ! -e go ]; do sleep 0.01; done; exit 7"))
    program.wait_for("far/started")
    program.kill_scheduler()
    program.wait_for_log("taking over 1 run")
    program.path("go").touch()
    program.wait_for_log("exit 7")
    assert len(started(program)) == 1


def test_a_run_goes_on_when_the_process_of_its_executor_is_killed(start: Any) -> None:
    program = start(job("a", "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exit 7"))
    program.wait_for("far/started")
    os.kill(helper(program), signal.SIGKILL)
    program.wait_for_log("has ended: starting another one")
    program.path("go").touch()
    program.wait_for_log("exit 7")
    assert len(started(program)) == 1


def test_a_run_is_found_again_when_all_were_killed(start: Any) -> None:
    waits = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exit 7"
    program = start(job("a", waits))
    program.wait_for("far/started")
    scheduler = program.scheduler_pid()
    for pid in (helper(program), program.process.pid, scheduler):
        kill(pid)
    program.process.wait()
    another = start(job("a", waits).replace("run_on_start = true\n", ""))
    another.wait_for_log("outlived its supervisor")
    another.path("go").touch()
    another.wait_for_log("exit 7")
    assert len(started(another)) == 1


def test_a_lost_connection_is_asked_about_until_it_is_known_how_it_ended(start: Any) -> None:
    program = start(job("a", "while [ ! -e go ]; do sleep 0.01; done; exit 7"))
    program.wait_for("far/started")
    program.path("far/down").touch()
    program.path("go").touch()
    wait_until(lambda: any(program.path("far").glob("*.code")))
    program.path("far/down").unlink()
    program.wait_for_log("exit 7")


def test_an_attempt_is_lost_if_nothing_is_heard_of_it_for_too_long(start: Any) -> None:
    program = start(job("a", "sleep 100"), settings='lost_after = "1s"')
    program.wait_for("far/started")
    program.path("far/down").touch()
    program.wait_for_log("nothing was heard of it for 1 s: the line is down")


def test_a_process_that_hangs_does_not_hold_up_a_stop(start: Any) -> None:
    numbers = {
        "taskman_cli.core.engine.attempts.KILL_PATIENCE_NS": 10**9,
        "taskman_cli.supervisor.limits.LEAVE_S": 1.0,
    }
    program = start(job("a", "sleep 100"), numbers=numbers)
    program.wait_for("far/started")
    os.kill(helper(program), signal.SIGSTOP)
    program.send(signal.SIGTERM)
    program.end()
    assert "stopped" in program.log


def test_no_more_run_there_than_may(start: Any) -> None:
    tables = [
        job(f"j{number}", "echo x >>order; while [ ! -e go ]; do sleep 0.01; done") for number in range(3)
    ]
    program = start(*tables, settings="max_workers = 2")
    program.wait_for("order", lines=2)
    program.path("go").touch()
    program.wait_for("order", lines=3)
    assert program.log.count("failed") == 0


def rewrite(program: Running, old: str, new: str) -> None:
    """Change the job file, and have it read again."""
    path = program.path("jobs.toml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    program.send(signal.SIGHUP)


def test_what_runs_goes_on_when_its_executor_is_changed(start: Any) -> None:
    program = start(job("a", "while [ ! -e go ]; do sleep 0.01; done; exit 7"))
    program.wait_for("far/started")
    before = helper(program)
    rewrite(program, 'type = "stand-in"', 'type = "stand-in"\nlost_after = "99s"')
    program.wait_for_log("reload (")
    assert helper(program) == before
    program.path("go").touch()
    program.wait_for_log("exit 7")
    program.wait_for("far/forgotten")
    wait_until(lambda: not is_alive(before), what="the end of the process that was replaced")


def test_what_runs_goes_on_when_its_executor_is_removed(start: Any) -> None:
    program = start(job("a", "while [ ! -e go ]; do sleep 0.01; done; exit 7"), job("b", "true"))
    program.wait_for_log("b: succeeded")
    path = program.path("jobs.toml")
    path.write_text("[jobs.c]\nevery = '1h'\ncommand = 'true'\n")
    program.send(signal.SIGHUP)
    program.wait_for_log("reload (")
    program.path("go").touch()
    program.wait_for_log("exit 7")
    program.wait_for("far/forgotten", lines=2)


def test_a_retry_begins_where_its_run_did_though_that_executor_was_removed_twice(start: Any) -> None:
    command = "[ -e again ] && exit 0; while [ ! -e go ]; do sleep 0.01; done; mv go again; exit 7"
    program = start(job("a", command, 'retry = { max = 3, delay = "2s" }', 'timeout = "90s"'))
    program.wait_for("far/started")
    before = helper(program)
    for name in ("c", "d"):
        program.path("jobs.toml").write_text(
            f"[jobs.a]\nevery = '1h'\ncommand = 'true'\n[jobs.{name}]\nevery = '1h'\ncommand = 'true'\n"
        )
        program.send(signal.SIGHUP)
        program.wait_for_log(f"added job: {name}")
    program.path("go").touch()
    program.wait_for_log("a: succeeded")
    program.wait_for("far/started", lines=2)
    assert "there is no executor" not in program.log_path.read_text()
    wait_until(lambda: not is_alive(before), what="the end of the process that nothing needs any more")


def test_no_start_fails_while_many_jobs_get_another_executor_by_a_reload(start: Any) -> None:
    table = "".join(f'j{number} = {{ every = "5s", command = "true" }}\n' for number in range(1500))
    program = start(f"[pool]\nmax_workers = 8\n[jobs]\n{table}")
    program.wait_for("far/forgotten", lines=20)
    path = program.path("jobs.toml")
    text = path.read_text().replace("[executors.far]", "[executors.near]")
    path.write_text(text.replace('executor = "far"', 'executor = "near"'))
    program.send(signal.SIGHUP)
    program.wait_for_log("reload (")
    assert "there is no executor" not in program.log_path.read_text()


def test_a_restart_disturbs_nothing(start: Any) -> None:
    program = start(job("a", "while [ ! -e go ]; do sleep 0.01; done; exit 7"))
    program.wait_for("far/started")
    before = helper(program)
    program.send(signal.SIGUSR1)
    program.wait_for_log("taking over 1 run")
    assert helper(program) == before
    program.path("go").touch()
    program.wait_for_log("exit 7")
    assert len(started(program)) == 1


def test_the_second_ctrl_c_kills_and_leaves_no_process(start: Any) -> None:
    program = start(job("a", "trap : TERM INT; while :; do sleep 0.01; done", 'kill_timeout = "1h"'))
    program.wait_for("far/started")
    pid = helper(program)
    program.send(signal.SIGINT)
    program.wait_for_log("stopping")
    program.send(signal.SIGINT)
    program.end()
    assert not is_alive(pid)
    [keeper] = program.path("far").glob("*.pid")
    wait_until(lambda: not is_alive(int(keeper.read_text())), what="the end of what ran")


def test_a_supervisor_that_is_killed_takes_the_process_of_the_executor_with_it(start: Any) -> None:
    program = start(job("a", "sleep 100"))
    program.wait_for("far/started")
    pid = helper(program)
    program.send(signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), what="the end of the executor's process")


def test_a_run_on_record_whose_executor_is_gone_is_lost_in_words(start: Any) -> None:
    program = start(job("a", "sleep 100"))
    program.wait_for("far/started")
    for pid in (program.process.pid, program.scheduler_pid()):
        kill(pid)
    program.process.wait()
    path = program.path("other.toml")
    path.write_text("[jobs.a]\nevery = '1h'\ncommand = 'true'\n")
    environ = installed(program.directory / "plug", os.environ)
    with Running(program.directory, path.read_text(), environ=environ) as another:
        another.wait_for_log("executor far is not defined any more")


def test_progress_is_in_the_status(start: Any) -> None:
    program = start(job("a", "sleep 100", 'env = { PROGRESS = "half of it" }'))
    program.wait_for("far/started")

    def shown() -> bool:
        done = call(["status", "--json"], env=program.env)
        rows = json.loads(done.stdout)["running"] if done.returncode == 0 else []
        return [(row["executor"], row["progress"], row["said"], row["pid"]) for row in rows] == [
            ("stand-in far", 0.5, "half of it", None)
        ]

    wait_until(shown, what="progress in the status")


def test_a_trial_runs_on_the_executor(start: Any, tmp_path: Path) -> None:
    program = start(job("a", "sleep 100"))
    (tmp_path / "trial.toml").write_text(jobs(tmp_path, job("b", "echo hello; exit 3")))
    done = subprocess.run(
        [*program.argv, "test", "b", "trial.toml"], env=program.env, cwd=tmp_path, capture_output=True
    )
    assert (done.returncode, done.stdout) == (3, b"hello\n")
    assert b"stand-in far" in done.stderr
    assert re.search(rb"main failed: exit 3 after [0-9.]+m?s\n", done.stderr)  # it measures nothing more
    (tmp_path / "trial.toml").write_text(jobs(tmp_path, job("b", "refuse not today")))
    done = subprocess.run(
        [*program.argv, "test", "b", "trial.toml"], env=program.env, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 126
    assert b"not today" in done.stderr


@pytest.mark.parametrize("command", [_CHATTY, f"trap '' TERM; {_CHATTY}"])
def test_a_trial_whose_output_nobody_reads_any_more_ends(start: Any, tmp_path: Path, command: str) -> None:
    program = start(job("a", "sleep 100"))
    (tmp_path / "trial.toml").write_text(jobs(tmp_path, job("b", command, "kill_timeout = '1s'")))
    argv = [*program.argv, "test", "b", "trial.toml"]
    with subprocess.Popen(
        argv, env=program.env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as trial:
        assert trial.stdout
        assert trial.stderr
        assert trial.stdout.read(4) == b"y\ny\n"
        trial.stdout.close()
        assert b"Traceback" not in trial.stderr.read()
        assert trial.wait(30) in (137, 143)


def asked(program: Running, *words: str) -> Any:
    """Return what a command prints, as JSON, as soon as the scheduler answers."""

    def answer() -> Any:
        found = call([*words, "--json"], env=program.env, cwd=program.directory)
        return json.loads(found.stdout) if found.returncode == 0 else None

    return wait_until(answer, what=" ".join(words))


def test_a_start_waits_for_an_executor_that_is_away_and_begins_when_it_is_back(
    start: Any, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/away").touch()
    program = start(job("a", "echo there"), settings="max_workers = 3")

    def far() -> Any:
        return asked(program, "status")["executors"][1]

    wait_until(lambda: far()["state"] == "down")
    assert [far()[key] for key in ("executor", "type", "error", "max_workers", "waiting")] == [
        "far", "stand-in", "nobody is there", 3, 1
    ]  # fmt: skip
    wait_until(
        lambda: any("nobody is there" in wait["reason"] for wait in asked(program, "list")[0]["waits"])
    )
    words = call(["why", "a"], env=program.env, cwd=program.directory, text=True).stdout
    assert "for executor far: nobody is there" in " ".join(words.split())
    (tmp_path / "far/away").unlink()
    program.wait_for_log("a: succeeded")
    wait_until(lambda: far()["workers"])
    assert far()["workers"]["first"] == [
        {"worker": "w1", "running": 1, "slots": 4, "memory_bytes": 8_000_000_000, "resources": {"gpu": 2.0}}
    ]
    assert (far()["started"], far()["succeeded"], far()["failed"], far()["lost"]) == (1, 1, 0, 0)
    shown = call(
        ["status", "--executors"], env=program.env, cwd=program.directory, text=True, check=True
    ).stdout
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["local", "local", "up"], ["far", "stand-in", "up"], ["w1", "worker", "1"]
    ]  # fmt: skip
    metrics = call(["metrics"], env=program.env, cwd=program.directory, text=True).stdout
    assert 'taskman_executor_up{executor="far"} 1' in metrics
    assert 'taskman_executor_ends_total{executor="far",state="succeeded"} 1' in metrics
    assert 'taskman_executor_far_slots{executor="far"} 4' in metrics
