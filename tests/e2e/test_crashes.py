"""What kill -9 does to the two processes, and what it does not do to the commands."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from e2e.running import Running
from process_table import is_alive, is_gone, kill, pids, status_of, threads
from wait import wait_until


def test_a_scheduler_that_dies_is_started_again_and_hears_what_ended_meanwhile(tmp_path: Path) -> None:
    jobs = """
        [jobs.long]
        every = "1h"
        run_on_start = true
        command = "echo $TASKMAN_RUN_ID > began; while [ ! -e go ]; do sleep 0.01; done; echo tail; exit 7"
        [jobs.short]
        every = "1h"
        run_on_start = true
        command = "echo > short; while [ ! -e go ]; do sleep 0.01; done"
    """
    with Running(tmp_path, jobs) as running:
        [run] = running.wait_for("began")
        running.wait_for("short")
        first = running.scheduler_pid()
        os.kill(first, signal.SIGSTOP)  # it hears nothing any more
        running.path("go").touch()
        os.kill(first, signal.SIGKILL)
        running.wait_for_log("the scheduler died (killed by SIGKILL); starting it again")
        running.wait_for_log("taking over 2 runs")
        running.wait_for_log("long: failed (exit 7)")
        running.wait_for_log("short: succeeded")
        assert first != running.scheduler_pid()
        assert running.log.count("long: failed") == 1
        output = tmp_path / f"state/output/long/{run}.main.1.log"
        assert output.read_text() == "tail\n"
        running.send(signal.SIGTERM)
        assert running.end() == 0
    with closing(sqlite3.connect(tmp_path / "state/ledger.db")) as connection:
        starts = connection.execute("SELECT detail FROM events WHERE kind = 'scheduler_started' ORDER BY seq")
        assert starts.fetchall() == [(None,), ("again",)]


def test_runs_that_waited_when_the_scheduler_died_are_run_by_the_next(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "100ms"
        overlap = "queue"
        max_runs = 4
        command = "echo $TASKMAN_SLOT >> marks; while [ ! -e go ]; do sleep 0.01; done"
    """
    with Running(tmp_path, jobs, "--until-idle", "--log-level", "debug") as running:
        wait_until(lambda: running.log.count("queued (slot") == 4, what="four runs")
        running.kill_scheduler()
        running.wait_for_log("taking over 4 runs")
        running.path("go").touch()
        assert running.end() == 0
        slots = running.lines("marks")
        assert sorted(set(slots)) == slots
        assert len(slots) == 4


def test_an_edit_changes_nothing_when_the_scheduler_dies(tmp_path: Path) -> None:
    with Running(tmp_path, '[jobs.job]\nevery = "100ms"\ncommand = "echo >> marks"') as running:
        running.wait_for("marks")
        running.path("jobs.toml").write_text("[jobs.job]\nevery = junk")
        running.kill_scheduler()
        running.wait_for_log("starting it again")
        before = len(running.lines("marks"))
        running.wait_for("marks", lines=before + 3)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "junk" not in running.log


def test_a_run_that_outlives_its_scheduler_goes_on_and_its_retries_follow(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        retry = { max = 1, delay = "50ms" }
        command = "echo $TASKMAN_ATTEMPT >> marks; while [ ! -e go ]; do sleep 0.01; done; exit 1"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("marks")
        running.kill_scheduler()
        running.wait_for_log("taking over 1 run")
        running.path("go").touch()
        assert running.wait_for("marks", lines=2) == ["1", "2"]
        running.wait_for_log("job: failed (exit 1)")
        wait_until(lambda: running.log.count("job: failed (exit 1)") == 2, what="both failures")


def test_intervals_keep_their_rhythm_and_max_runs_its_count(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "300ms"
        max_runs = 6
        command = "echo $TASKMAN_SLOT >> marks"
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        running.wait_for("marks", lines=2)
        running.kill_scheduler()
        assert running.end() == 0
        slots = running.lines("marks")
        assert 6 == len(set(slots)) == len(slots)
        times = [datetime.fromisoformat(slot).timestamp() for slot in slots]
        gaps = [round((later - sooner) / 0.3, 3) for sooner, later in pairwise(times)]
        # Slots that passed while there was no scheduler are one run.
        assert [gap >= 1 and gap.is_integer() for gap in gaps] == [True] * 5


def test_a_supervisor_that_dies_takes_the_scheduler_with_it_and_leaves_the_commands(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        command = "echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done; echo piped; echo done > done"
    """
    with Running(tmp_path, jobs) as running:
        [pid] = running.wait_for("pid")
        scheduler = running.scheduler_pid()
        try:
            os.kill(running.process.pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(scheduler), what="the scheduler to leave")
            assert is_alive(int(pid))
            running.path("go").touch()
            assert running.wait_for("done") == ["done"]
            wait_until(lambda: not is_alive(int(pid)), what="the command to end")
        finally:
            kill(int(pid))


def test_however_often_the_scheduler_is_killed_no_slot_runs_twice_and_none_is_lost(tmp_path: Path) -> None:
    jobs = """
        [taskman]
        restart_delay = "10ms"
        restart_delay_max = "20ms"
        [pool]
        max_workers = 2
        admission = "fixed"
        [jobs.queue]
        every = "250ms"
        overlap = "queue"
        command = "echo $TASKMAN_SLOT >> queue; sleep 0.1"
        [jobs.allow]
        every = "350ms"
        overlap = "allow"
        jitter = "300ms"
        command = "echo $TASKMAN_SLOT >> allow; sleep 0.1"
        [jobs.retry]
        every = "450ms"
        overlap = "queue"
        retry = { max = 1, delay = "20ms" }
        command = "echo $TASKMAN_SLOT $TASKMAN_ATTEMPT >> retry; exit 1"
    """
    with Running(tmp_path, jobs) as running:
        for number in range(6):
            running.wait_for("queue", lines=3 * number + 1)
            running.kill_scheduler()
            running.wait_for("allow", lines=2 * number + 1)
        running.wait_for("retry", lines=12)
        running.wait_for("queue", lines=20)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        for job, every_s in (("queue", 0.25), ("allow", 0.35)):
            marks = running.lines(job)
            assert sorted(set(marks)) == sorted(marks)
            times = sorted(datetime.fromisoformat(mark).timestamp() for mark in marks)
            # The stop may have caught the latest while they waited, in the order of their jitter.
            gaps = [round((later - sooner) / every_s, 3) for sooner, later in pairwise(times[:-3])]
            assert [1.0] * len(gaps) == gaps
        retries = running.lines("retry")
        assert sorted(set(retries)) == sorted(retries)


def test_a_finished_run_does_not_come_back_after_a_retry_that_the_scheduler_did_not_hear_of(
    tmp_path: Path,
) -> None:
    jobs = """
        [taskman]
        restart_delay = "10ms"
        [jobs.job]
        every = "1h"
        run_on_start = true
        retry = { max = 1, delay = "300ms" }
        command = "echo $TASKMAN_ATTEMPT >> marks; [ $TASKMAN_ATTEMPT = 2 ] && sleep 0.3"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for_log("attempt 1, next in 300ms")
        first = running.scheduler_pid()
        while len(running.lines("marks")) < 2:
            pass  # the news of the second start is held for 5 ms
        os.kill(first, signal.SIGKILL)
        running.wait_for_log("job: succeeded")
        running.kill_scheduler()
        wait_until(lambda: running.log.count("1 job from") == 3, what="the third scheduler")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert running.lines("marks") == ["1", "2"]
        assert running.log.count("job: succeeded") == 1


def test_a_start_that_cannot_be_put_together_is_tried_again_by_the_next_scheduler(tmp_path: Path) -> None:
    jobs = """
        [taskman]
        restart_delay = "10ms"
        [jobs.job]
        every = "1h"
        run_on_start = true
        max_runs = 1
        env_file = "settings"
        retry = { max = 1, delay = "1s" }
        command = "echo $GREETING > marks"
    """
    with Running(tmp_path, jobs, "--until-idle") as running:
        running.wait_for_log("attempt 1, next in 1s")
        running.path("settings").write_text("GREETING=hello")
        running.kill_scheduler()
        assert running.end() == 0
        assert running.lines("marks") == ["hello"]
        assert running.log.count("attempt 1, next in 1s") == 1


def test_kill_comes_in_time_however_often_the_scheduler_dies_meanwhile(tmp_path: Path) -> None:
    jobs = """
        [taskman]
        restart_delay = "50ms"
        restart_delay_max = "50ms"
        [jobs.deaf]
        every = "1h"
        run_on_start = true
        timeout = "1s"
        kill_timeout = "6s"
        command = "trap 'date +%s.%N >> marks' TERM; echo $$ > pid; while :; do sleep 0.05; done"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("marks")
        begin = time.monotonic()
        [pid] = map(int, running.wait_for("pid"))
        schedulers = []
        while is_alive(pid) and time.monotonic() - begin < 30:
            schedulers.append(running.scheduler_pid())
            kill(schedulers[-1], signal.SIGKILL)
            wait_until(
                lambda: running.log.count("taking over 1 run") == len(schedulers) or not is_alive(pid),
                what="the next scheduler",
            )
        assert len(schedulers) > 1
        assert not is_alive(pid)
        [told] = map(float, running.lines("marks"))
        assert time.time() - told > 5.9
        running.wait_for_log("deaf: timed out")


def _states(directory: Path) -> list[tuple[str, str]]:
    """Return the jobs and states of all attempts in the ledger."""
    with closing(sqlite3.connect(directory / "state/ledger.db")) as ledger:
        return ledger.execute(
            "SELECT name, attempts.state FROM attempts JOIN runs ON runs.id = run"
            " JOIN job_state ON job_state.id = job ORDER BY name"
        ).fetchall()


def test_a_stop_while_no_scheduler_lives_is_carried_out_and_recorded_by_another(tmp_path: Path) -> None:
    jobs = """
        [taskman]
        restart_delay = "1h"
        restart_delay_max = "1h"
        [jobs.ends]
        every = "1h"
        run_on_start = true
        command = "echo $$ > ends; while [ ! -e go ]; do sleep 0.01; done"
        [jobs.goes_on]
        every = "1h"
        run_on_start = true
        on_crash = "rerun"
        command = "echo >> goes_on; exec sleep 60"
    """
    with Running(tmp_path, jobs) as running:
        [pid] = map(int, running.wait_for("ends"))
        running.wait_for("goes_on")
        running.kill_scheduler()
        running.wait_for_log("starting it again in 3600 s")
        running.path("go").touch()
        wait_until(lambda: is_gone(pid), what="the end of a command")
        running.send(signal.SIGTERM)
        assert running.end() == 0, running.log
        assert _states(tmp_path) == [("ends", "succeeded"), ("goes_on", "cancelled")]
        assert len(running.lines("goes_on")) == 1


def test_a_stop_at_the_moment_that_the_scheduler_dies_is_recorded(tmp_path: Path) -> None:
    jobs = '[jobs.job]\nevery = "1h"\nrun_on_start = true\ncommand = "echo > began; exec sleep 60"'
    with Running(tmp_path, jobs) as running:
        running.wait_for("began")
        supervisor, scheduler = running.process.pid, running.scheduler_pid()
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(scheduler, signal.SIGKILL)
        os.kill(supervisor, signal.SIGTERM)
        wait_until(lambda: not is_alive(scheduler), what="its end")
        os.kill(supervisor, signal.SIGCONT)
        assert running.end() == 0, running.log
        assert _states(tmp_path) == [("job", "cancelled")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root has no limit of processes")
def test_a_user_without_processes_and_threads_left_has_late_starts_and_a_scheduler_that_lives(
    tmp_path: Path,
) -> None:
    jobs = """
        [pool]
        admission = "fixed"  # "auto" starts no more than the limit allows
        [defaults]
        overlap = "allow"
        [jobs.long]
        every = "20ms"
        command = ["sleep", "0.3"]
        [jobs.short]
        every = "20ms"
        command = ["true"]
    """
    alone = ["unshare", "--user", "--map-current-user"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode == 0:
        others = 0  # in a namespace, those of other tests do not count
    else:
        alone, others = [], _tasks_of_ours()
    # Six for the supervisor and the scheduler's threads, and four seats; thirty would be used.
    with Running(tmp_path, jobs, prefix=[*alone, "prlimit", f"--nproc={others + 10}:"]) as running:
        running.wait_for_log("Resource temporarily unavailable): waiting")

        def is_refused() -> bool:
            running.send(signal.SIGHUP)
            return "reload (SIGHUP): nothing was changed" in running.log

        wait_until(is_refused, what="a reload that needs a thread or a process")
        wait_until(lambda: running.log.count("short: succeeded") > 200, what="starts", timeout_s=60)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "the scheduler die" not in running.log
        assert "set aside" not in running.log


def _tasks_of_ours() -> int:
    """Return how many threads our user has, which is what the limit counts."""
    ours = str(os.geteuid())
    return sum(len(threads(pid)) for pid in pids() if status_of(pid).get("Uid", "").split()[:1] == [ours])
