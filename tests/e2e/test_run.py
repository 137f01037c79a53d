"""`taskman run` as a person starts it: real files, real commands, real signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import call
from e2e.running import TASKMAN, Running
from process_table import descendants, is_alive
from wait import wait_until

from taskman_cli.scheduler.requests.job_changes import PORTION

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_jobs_run_and_a_line_tells_how_each_ended(tmp_path: Path) -> None:
    jobs = """
        [jobs.good]
        every = "1h"
        run_on_start = true
        max_runs = 1
        command = "echo fine"
        [jobs.bad]
        every = "1h"
        run_on_start = true
        max_runs = 1
        command = "echo no >&2; exit 3"
        retry = { max = 1, delay = "10ms" }
        [jobs.missing]
        every = "1h"
        run_on_start = true
        max_runs = 1
        command = ["/no/such/program"]
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert "info    good: succeeded after" in running.log
        assert "error   bad: failed (exit 3) after" in running.log
        assert "attempt 2; output: " in running.log
        assert "error   missing: failed (not found: /no/such/program)" in running.log
        assert "stopped: 4 started, 1 succeeded, 3 failed" in running.log
        output = Path(running.log.partition("output: ")[2].split()[0])
        assert output.read_text() == "no\n"


def test_a_reload_in_parts_is_not_the_end_of_all_work(tmp_path: Path) -> None:
    """All that has slots to come is gone after the first turn; the second enables another job."""

    def job(name: str, enabled: str = "true") -> str:
        return f'[jobs.{name}]\nat = 2099-01-01T00:00:00Z\nenabled = {enabled}\ncommand = "true"\n'

    before = [job("last", "false"), *(job(f"gone-{number}") for number in range(2 * PORTION))]
    with Running(tmp_path, "".join(before), "--until-idle") as running:
        running.wait_for_log(f"{2 * PORTION + 1} jobs")
        running.path("jobs.toml").write_text(job("last"))
        reload = subprocess.run([*running.argv, "reload"], env=running.env, capture_output=True, text=True)
        assert reload.stdout == f"changed last\nremoved {2 * PORTION} jobs\n"
        assert reload.returncode == 0


def test_a_command_knows_what_it_runs_for(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        cron = "* * * * * *"
        max_runs = 1
        command = "env > seen; sleep 0"
        env = { COLOUR = "blue" }
        [jobs.boot]
        cron = "@reboot"
        tasks.first = "echo $TASKMAN_TASK-$TASKMAN_TRIGGER-$TASKMAN_SLOT- > boot"
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        seen = dict(line.split("=", 1) for line in running.lines("seen"))
        expected = {"JOB": "job", "TASK": "main", "ATTEMPT": "1", "TRIGGER": "slot"}
        assert {name: seen[f"TASKMAN_{name}"] for name in expected} == expected
        assert seen["COLOUR"] == "blue"
        assert seen["TASKMAN_SLOT"].endswith("+00:00")
        assert len(seen["TASKMAN_RUN_ID"]) == 10
        assert "TASKMAN_SUPERVISOR_FD" not in seen
        assert running.lines("boot") == ["first-start--"]


def test_a_stop_ends_commands_gently_and_leaves_nothing(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        command = "trap 'echo ended >> marks; exit 0' TERM; echo began >> marks; while :; do sleep 0.01; done"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("marks")
        family = descendants(running.process.pid)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert running.lines("marks") == ["began", "ended"]
        assert [pid for pid in family if is_alive(pid)] == []


def test_a_second_interrupt_kills_at_once(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        kill_timeout = "1h"
        command = "trap '' TERM; echo $$ > pid; while :; do sleep 0.01; done"
    """
    with Running(tmp_path, jobs) as running:
        [pid] = running.wait_for("pid")
        running.send(signal.SIGINT)
        running.wait_for_log("SIGINT: stopping")
        running.send(signal.SIGINT)
        assert running.end() == 130
        assert not is_alive(int(pid))


def test_a_quit_kills_at_once(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        kill_timeout = "1h"
        command = "trap '' TERM; echo $$ > pid; while :; do sleep 0.01; done"
    """
    with Running(tmp_path, jobs) as running:
        [pid] = running.wait_for("pid")
        running.send(signal.SIGQUIT)
        assert running.end() == 130
        assert not is_alive(int(pid))


def test_signals_that_mean_nothing_here_do_no_harm(tmp_path: Path) -> None:
    jobs = '[jobs.job]\nevery = "100ms"\ncommand = "kill -USR1 $$; echo survived >> marks"'
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("job: failed (killed by SIGUSR1)")
        for signum in (signal.SIGUSR2, signal.SIGALRM):
            os.kill(running.process.pid, signum)
        for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            os.kill(running.scheduler_pid(), signum)
        before = running.log.count("killed by SIGUSR1")
        wait_until(lambda: running.log.count("killed by SIGUSR1") > before + 2, what="more runs")
        assert running.lines("marks") == []
        assert "died" not in running.log
        running.send(signal.SIGTERM)
        assert running.end() == 0


def test_a_command_that_will_not_end_is_killed_after_its_patience(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        max_runs = 1
        timeout = "1s"
        kill_timeout = "100ms"
        command = "trap '' TERM; (trap '' TERM; echo > grandchild; while :; do sleep 0.01; done) & wait; wait"
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert "job: timed out (killed by SIGKILL)" in running.log


def test_it_stops_by_itself_after_the_given_time(tmp_path: Path) -> None:
    jobs = '[jobs.job]\ncron = "* * * * * *"\ncommand = "echo >> marks"'
    with Running(tmp_path, jobs, "--for", "2500ms") as running:
        assert running.end() == 0
        assert len(running.lines("marks")) in (2, 3)


def test_the_signal_may_come_to_the_scheduler_too(tmp_path: Path) -> None:
    with Running(tmp_path, '[jobs.job]\nevery = "1h"\ncommand = "true"') as running:
        running.wait_for_log("1 job from")
        os.kill(running.scheduler_pid(), signal.SIGTERM)
        assert running.end() == 0


def test_of_thousands_of_errors_a_reload_tells_the_first_hundred(tmp_path: Path) -> None:
    """With all of them, the scheduler would log and answer for seconds, and start nothing meanwhile."""
    with Running(tmp_path, '[jobs.job]\nevery = "1h"\ncommand = "true"') as running:
        running.wait_for_log("1 job from")
        running.path("jobs.toml").write_text("".join(f"[jobs.j{n}]\nevery = {n}\n" for n in range(1000)))
        running.send(signal.SIGHUP)
        running.wait_for_log("nothing was changed")
        running.wait_for_log("1,900 more errors, which `taskman check` shows")
        assert running.log.count(".every: ") <= 52
        running.send(signal.SIGTERM)


def test_a_hang_up_without_a_terminal_has_the_files_read_again(tmp_path: Path) -> None:
    with Running(tmp_path, '[jobs.job]\nevery = "1h"\ncommand = "true"') as running:
        running.wait_for_log("1 job from")
        running.path("jobs.toml").write_text("[jobs.job]\nevery = junk")
        running.send(signal.SIGHUP)
        running.wait_for_log("reload (SIGHUP): nothing was changed")
        running.path("jobs.toml").write_text('[jobs.other]\nevery = "100ms"\ncommand = "echo >> marks"')
        running.send(signal.SIGHUP)
        running.wait_for("marks")
        running.wait_for_log("removed job: job")
        running.send(signal.SIGTERM)
        assert running.end() == 0


def test_a_broken_file_runs_nothing_and_names_the_places(tmp_path: Path) -> None:
    jobs = '[jobs.job]\nevery = "1h"\ncommand = "true"\noverlap = "skp"\n'
    jobs += '[jobs.other]\ncron = "61 * * * *"\ncommand = "x"'
    with Running(tmp_path, jobs) as running:
        assert running.end() == 2
        assert "jobs.toml:4:11: jobs.job.overlap:" in running.log
        assert "jobs.toml:6:" in running.log
        assert "Traceback" not in running.log


def fill(pipe: int) -> None:
    """Write to a pipe that does not block until it takes no more."""
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)


def test_a_log_that_nobody_reads_delays_no_start(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text('[jobs.job]\nevery = "20ms"\ncommand = "echo >> marks"\n')
    reading, writing = os.pipe()
    os.set_blocking(writing, True)
    filler = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    fill(filler)
    process = subprocess.Popen(
        [TASKMAN, "run", "jobs.toml", "--log-level", "debug"],
        cwd=tmp_path,
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
        stderr=writing,
    )
    marks = tmp_path / "marks"
    try:
        wait_until(lambda: marks.exists() and marks.stat().st_size >= 50, what="50 starts")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        for fd in (reading, writing, filler):
            os.close(fd)


def test_old_output_is_removed(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "50ms"
        keep_runs = 3
        max_runs = 10
        command = "echo $TASKMAN_RUN_ID"
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        kept = sorted((running.directory / "state/output/job").iterdir())
        assert len(kept) == 3
        assert all(path.read_text().strip() == path.name.split(".")[0] for path in kept)


def test_a_module_in_the_working_directory_is_not_ours(tmp_path: Path) -> None:
    for name in ("json.py", "taskman_cli.py", "croniter.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')")
    jobs = '[jobs.job]\ncron = "* * * * * *"\nmax_runs = 1\ncommand = "echo >> marks"'
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert len(running.lines("marks")) == 1


def test_the_state_directory_is_private(tmp_path: Path) -> None:
    with Running(
        tmp_path,
        '[jobs.job]\nevery = "1h"\nrun_on_start = true\nmax_runs = 1\ncommand = "echo x"',
        "--until-idle",
    ) as running:
        assert running.end() == 0
        state = running.directory / "state"
        assert state.stat().st_mode & 0o777 == 0o700
        [output] = (state / "output" / "job").iterdir()
        assert output.stat().st_mode & 0o777 == 0o600


def test_a_state_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with Running(tmp_path, '[jobs.job]\nevery = "1h"\ncommand = "true"') as running:
        assert running.end() == 1
        assert "taskman: cannot keep state in " in running.log
        assert "Traceback" not in running.log


def test_jobs_that_will_never_run_are_named(tmp_path: Path) -> None:
    jobs = """
        [defaults]
        enabled = true
        [jobs.past]
        at = 2020-01-01T00:00:00Z
        command = "true"
        [jobs.off]
        enabled = false
        at = 2020-01-01T00:00:00Z
        command = "true"
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert "warning past: no slot will ever come" in running.log
        assert "off:" not in running.log


def test_an_interval_that_stands_still_is_not_said_to_have_no_slot_to_come(tmp_path: Path) -> None:
    jobs = '[jobs.still]\nevery = "1h"\ncommand = "true"'
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("1 job from")
        subprocess.run(
            [TASKMAN, "pause", "still"],
            env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
            check=True,
            capture_output=True,
        )
        running.send(signal.SIGTERM)
        assert running.end() == 0
    with Running(tmp_path, jobs, "--for", "10ms") as running:
        assert running.end() == 0
        assert "1 job from" in running.log
        assert "no slot will ever come" not in running.log


def test_a_job_of_the_machines_start_that_has_run_is_not_warned_of(tmp_path: Path) -> None:
    jobs = """
        [jobs.boot]
        cron = "@reboot"
        command = "echo >> marks"
        [jobs.past]
        at = 2020-01-01T00:00:00Z
        command = "true"
    """
    for _ in range(2):
        with Running(tmp_path, jobs, "--until-idle") as running:
            assert running.end() == 0
            assert "warning past: no slot will ever come" in running.log
            assert "boot: no slot will ever come" not in running.log
            assert running.lines("marks") == [""]


def test_a_start_that_fails_before_there_is_a_process_ends_it_too(tmp_path: Path) -> None:
    jobs = '[jobs.job]\ncron = "@reboot"\nenv_file = "missing"\ncommand = "env"'
    with Running(tmp_path, jobs, "--until-idle") as running:
        assert running.end() == 0
        assert "job: failed (cannot read env_file " in running.log


def test_a_closed_standard_output_is_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text('[jobs.job]\ncron = "@reboot"\ncommand = "echo > marks"')
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {TASKMAN} run jobs.toml --until-idle >&-"],
        cwd=tmp_path,
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "marks").exists()


def test_a_directory_that_is_gone_is_said_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", f"rmdir ../gone; exec {TASKMAN} run /jobs.toml"],
        cwd=gone,
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    words = "taskman: the current directory no longer exists: change to another one\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_a_start_directory_that_was_removed_is_named_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    state = str(tmp_path / "state")
    jobs = '[jobs.a]\nevery = "1h"\ncommand = "true"\n'
    with Running(tmp_path / "release", jobs, "--state-dir", state) as running:
        wait_until(lambda: (tmp_path / "state" / "taskman.sock").exists(), what="the socket")
        shutil.rmtree(tmp_path / "release")
        gone = f"was removed: {tmp_path / 'release'}"
        wide = os.environ | {"COLUMNS": "400"}

        def ask(*words: str) -> tuple[int, str]:
            done = call([*words, "--state-dir", state], cwd=tmp_path, env=wide, text=True)
            return done.returncode, done.stdout + done.stderr

        for _ in range(2):  # the second time a new scheduler
            code, said = ask("status")
            assert (code, gone in said) == (0, True), said
            assert (ask("show", "a")[0], f"{tmp_path}/release/jobs.toml" in ask("show", "a")[1]) == (0, True)
            code, said = ask("reload")
            assert (code, str(tmp_path / "release") in said) == (1, True), said
            assert ask("trigger", "a", "--wait")[0] == 0
            pid = running.scheduler_pid()
            assert ask("restart")[0] == 0
            wait_until(lambda pid=pid: running.scheduler_pid() != pid, what="the next scheduler")


@pytest.mark.parametrize("limit", [12, 16, 31])
def test_too_few_descriptors_are_told_at_once(tmp_path: Path, limit: int) -> None:
    (tmp_path / "jobs.toml").write_text('[jobs.job]\nevery = "1h"\ncommand = "true"\n')
    run = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", TASKMAN, "run", "--for", "1s", "jobs.toml"]
    environ = os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")}
    done = subprocess.run(
        run, cwd=tmp_path, env=environ, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert f"the limit on open files is {limit}, but taskman needs 32: " in done.stderr
