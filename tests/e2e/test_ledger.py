"""What `taskman run` keeps on disk, and what the next one makes of it: real files, commands and signals."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from command_line import call
from e2e.running import Running
from process_table import is_alive, kill
from wait import wait_until

FDS = """
import os
found = []
for fd in range(3, 512):
    try:
        found.append(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError:
        pass
with open("fds", "a") as file:
    print(len(found), *found, file=file)
"""


def ledger(directory: Path, query: str) -> list[Any]:
    """Return what the ledger says, of one column its values."""
    uri = f"{(directory / 'state/ledger.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        rows = connection.execute(query).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def taskman(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run another command of ours on the same state."""
    return call([*words], env=os.environ | {"STATE_DIRECTORY": str(directory / "state")}, text=True)


def test_a_command_gets_no_descriptor_of_ours(tmp_path: Path) -> None:
    """Not the ledger, nor the lock, nor the socket; whichever scheduler asked for it."""
    (tmp_path / "fds.py").write_text(FDS)
    jobs = f"""
        [jobs.captured]
        every = "100ms"
        command = ["{sys.executable}", "fds.py"]
        [jobs.fed]
        every = "100ms"
        stdin = "some text"
        output = "discard"
        command = "exec {sys.executable} fds.py"
        [jobs.inherits]
        every = "100ms"
        output = "inherit"
        command = ["{sys.executable}", "fds.py"]
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("fds", lines=6)
        running.kill_scheduler()
        running.wait_for_log("starting it again")
        running.wait_for("fds", lines=len(running.lines("fds")) + 6)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert set(running.lines("fds")) == {"0"}


def test_the_files_of_a_run_are_private_and_the_log_is_gone_after_a_stop(tmp_path: Path) -> None:
    with Running(tmp_path, '[jobs.job]\nevery = "100ms"\ncommand = "echo >> marks"') as running:
        running.wait_for("marks")
        state = tmp_path / "state"
        modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir() if path.is_file()}
        assert {"ledger.db", "ledger.db-wal", "ledger.db-shm", "lock"} <= set(modes)
        assert set(modes.values()) == {0o600}
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert sorted(path.name for path in state.iterdir()) == ["ledger.db", "lock", "output", "secret"]


def test_what_waited_when_it_was_stopped_is_done_by_the_next_start(tmp_path: Path) -> None:
    jobs = """
        [jobs.job]
        every = "100ms"
        overlap = "queue"
        command = "echo $TASKMAN_RUN_ID >> {0}; {1}"
        [jobs.retried]
        every = "1h"
        run_on_start = true
        max_runs = 1
        retry = {{ max = 1, delay = "2s" }}
        command = "echo $TASKMAN_ATTEMPT >> tries; exit 1"
    """
    with Running(tmp_path, jobs.format("first", "exec sleep 600")) as running:
        wait_until(lambda: len(ledger_or_none(tmp_path, OPEN)) >= 5, what="four runs that wait")
        running.wait_for("tries")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    waiting = ledger(tmp_path, "SELECT id FROM runs WHERE state = 'queued' ORDER BY id")
    assert len(waiting) >= 4
    assert ledger(tmp_path, "SELECT state FROM runs WHERE state = 'cancelled'") == ["cancelled"]
    with Running(tmp_path, jobs.format("second", "true")) as running:
        running.wait_for("second", lines=len(waiting))
        running.wait_for("tries", lines=2)
        wait_until(lambda: len(ledger_or_none(tmp_path, DONE)) >= len(waiting), what="their ends on record")
        wait_until(lambda: running.log.count("retried: failed") == 1, what="the end of the retry")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    done = ledger(tmp_path, DONE)
    assert waiting == done[: len(waiting)]
    second = running.lines("second")
    assert sorted(set(second)) == second
    assert running.lines("tries") == ["1", "2"]
    assert ledger(
        tmp_path, "SELECT number, attempts.state FROM attempts JOIN runs ON id = run AND slot_ns IS NULL"
    ) == [(1, "failed"), (2, "failed")]


DONE = "SELECT id FROM runs WHERE state = 'succeeded' ORDER BY id"
OPEN = "SELECT id FROM runs WHERE state IN ('queued', 'running') AND slot_ns IS NOT NULL"


def ledger_or_none(directory: Path, query: str) -> list[Any]:
    """Return what the ledger says, nothing while it is made."""
    try:
        return ledger(directory, query)
    except sqlite3.OperationalError:
        return []


def test_a_command_that_outlived_both_processes_is_watched_again_and_not_started_twice(
    tmp_path: Path,
) -> None:
    jobs = """
        [jobs.job]
        every = "1h"
        run_on_start = true
        command = "echo $$ >> pids; while [ ! -e go ]; do sleep 0.01; done; echo done"
    """
    with Running(tmp_path, jobs) as running:
        [pid] = running.wait_for("pids")
        scheduler = running.scheduler_pid()
        os.kill(running.process.pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(scheduler), what="the scheduler to leave")
    assert is_alive(int(pid))
    try:
        with Running(tmp_path, jobs) as running:
            running.wait_for_log(f"outlived its supervisor, watching {pid}")
            running.path("go").touch()
            wait_until(lambda: ledger(tmp_path, "SELECT 1 FROM runs WHERE ended_ns > 0"), what="its end")
            running.send(signal.SIGTERM)
            assert running.end() == 0
    finally:
        kill(int(pid), signal.SIGKILL)
    assert running.lines("pids") == [pid]
    kinds = ledger(tmp_path, "SELECT kind FROM events WHERE run > 0")
    assert kinds == ["queued", "begun", "adopted", "ended", "finished"]
    [(state, detail)] = ledger(tmp_path, "SELECT state, detail FROM attempts")
    assert (state, detail) == ("lost", "exit code unknown: its supervisor had died")
    assert ledger(tmp_path, "SELECT state FROM runs") == ["lost"]


def test_a_restart_disturbs_no_command(tmp_path: Path) -> None:
    jobs = """
        [jobs.long]
        every = "1h"
        run_on_start = true
        command = "echo >> began; while [ ! -e go ]; do sleep 0.01; done; exit 7"
        [jobs.often]
        every = "100ms"
        command = "echo $TASKMAN_SLOT >> slots"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("began")
        running.wait_for("slots", lines=2)
        first = running.scheduler_pid()
        done = taskman(tmp_path, "restart")
        assert (done.returncode, done.stderr) == (0, "")
        wait_until(lambda: running.scheduler_pid() != first, what="another scheduler")
        running.wait_for("slots", lines=len(running.lines("slots")) + 3)
        running.path("go").touch()
        running.wait_for_log("long: failed (exit 7)")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        slots = running.lines("slots")
        assert sorted(set(slots)) == slots
        assert len(running.lines("began")) == 1
        assert "died" not in running.log
    starts = "SELECT coalesce(detail, '') FROM events WHERE kind = 'scheduler_started'"
    assert ledger(tmp_path, starts) == ["", "again"]


def test_two_at_a_time_are_one_too_many(tmp_path: Path) -> None:
    with Running(tmp_path, '[jobs.job]\nevery = "100ms"\ncommand = "echo >> marks"') as running:
        running.wait_for("marks")
        second = taskman(tmp_path, "run", str(tmp_path / "jobs.toml"))
        assert (second.returncode, f"process {running.process.pid}" in second.stderr) == (1, True)
        assert "Traceback" not in second.stderr
        running.send(signal.SIGTERM)
        assert running.end() == 0


def test_a_broken_ledger_is_set_aside_and_said_so(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "ledger.db").write_text("This is no ledger.\n" * 100)
    with Running(
        tmp_path, '[jobs.job]\ncron = "@reboot"\ncommand = "echo >> marks"', "--until-idle"
    ) as running:
        assert running.end() == 0
        assert running.lines("marks") == [""]
        assert "critical the ledger was broken (file is not a database): it was moved to " in running.log
    [aside] = state.glob("ledger.db.broken-*")
    assert aside.read_text() == "This is no ledger.\n" * 100
    assert ledger(tmp_path, "SELECT state FROM runs") == ["succeeded"]


def test_a_ledger_that_breaks_while_it_runs_is_replaced_and_the_runs_go_on(tmp_path: Path) -> None:
    jobs = """
        [jobs.long]
        every = "1h"
        run_on_start = true
        command = "echo >> began; while [ ! -e go ]; do sleep 0.01; done"
        [jobs.often]
        every = "50ms"
        command = "echo $TASKMAN_SLOT >> slots"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("began")
        running.wait_for("slots")
        with closing(sqlite3.connect(tmp_path / "state/ledger.db")) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_schema SET rootpage = 10000 WHERE name = 'events'")
            connection.commit()
            version = connection.execute("PRAGMA schema_version").fetchone()[0]
            connection.execute(f"PRAGMA schema_version = {version + 1}")
        running.wait_for_log("the ledger was broken (")
        running.wait_for("slots", lines=len(running.lines("slots")) + 5)
        running.path("go").touch()
        running.wait_for_log("long: succeeded")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert len(running.lines("began")) == 1
        slots = running.lines("slots")
        assert sorted(set(slots)) == slots
    assert ledger(
        tmp_path, "SELECT state FROM runs JOIN job_state ON job_state.id = job WHERE name = 'long'"
    ) == ["succeeded"]


def test_a_newer_ledger_and_one_that_cannot_be_written_are_refused_in_words(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        connection.executescript(
            "CREATE TABLE x (y); PRAGMA application_id = 0x74736B6D; PRAGMA user_version = 99"
        )
    jobs = '[jobs.job]\nevery = "1h"\ncommand = "true"'
    with Running(tmp_path, jobs) as running:
        assert running.end() == 1
        assert "was written by a newer taskman (version 99" in running.log
        assert "Traceback" not in running.log
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        connection.execute("PRAGMA application_id = 7")
    with Running(tmp_path, jobs) as running:
        assert running.end() == 1
        assert f"taskman: {state}/ledger.db is a database of another program: move it" in running.log
        assert "Traceback" not in running.log
    (state / "ledger.db").unlink()
    (state / "ledger.db").mkdir()
    with Running(tmp_path, jobs) as running:  # that is damage: it is put out of the way
        running.wait_for_log("1 job from")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert "Traceback" not in running.log


def remove_tree(path: Path) -> None:
    """Remove a directory that somebody writes to."""
    for _ in range(100):
        with suppress(OSError):
            shutil.rmtree(path)
            return
    raise AssertionError(f"{path} is never empty")


def test_a_state_directory_that_is_removed_is_made_anew_and_nothing_runs_twice(tmp_path: Path) -> None:
    jobs = '[jobs.tick]\nevery = "1s"\ncommand = "echo $TASKMAN_RUN_ID $TASKMAN_SLOT >> marks"\n'
    with Running(tmp_path, jobs) as running:
        running.wait_for("marks", lines=2)
        remove_tree(tmp_path / "state")
        running.wait_for_log("the state directory was removed")
        running.wait_for_log("the ledger was lost (it was removed)")
        lines = len(running.lines("marks"))
        running.wait_for("marks", lines=lines + 3)
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        # The second is refused as it was before, and the socket is there again.
        second = taskman(tmp_path, "run", str(tmp_path / "jobs.toml"))
        assert f"process {running.process.pid}" in second.stderr
        wait_until(lambda: taskman(tmp_path, "status").returncode == 0, what="the socket")
        [words] = ledger(tmp_path, "SELECT detail FROM events WHERE kind = 'ledger_lost'")
        assert words.startswith("the ledger was lost (it was removed): a new one was created")
        assert re.search(r"set aside +the ledger .*it was removed", taskman(tmp_path, "status").stdout)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        marks = [line.split() for line in running.lines("marks")]
        assert len({slot for _, slot in marks}) == len({run for run, _ in marks}) == len(marks)


def test_a_state_directory_that_is_removed_while_no_scheduler_runs_is_made_anew(tmp_path: Path) -> None:
    jobs = """
        [jobs.tick]
        every = "1s"
        command = "echo $TASKMAN_SLOT >> marks"
        [jobs.once_a_life]
        every = "1h"
        run_on_start = true
        command = "echo >> began"
        [jobs.once_a_boot]
        cron = "@reboot"
        command = "echo >> booted"
    """
    with Running(tmp_path, jobs) as running:
        for name, lines in (("marks", 2), ("began", 1), ("booted", 1)):
            running.wait_for(name, lines=lines)
        running.send(signal.SIGSTOP)
        running.kill_scheduler()
        remove_tree(tmp_path / "state")
        running.send(signal.SIGCONT)
        running.wait_for_log("the ledger was lost (it was removed)")
        running.wait_for("marks", lines=len(running.lines("marks")) + 3)
        wait_until(lambda: taskman(tmp_path, "status").returncode == 0, what="the socket")
        second = taskman(tmp_path, "run", str(tmp_path / "jobs.toml"))
        assert f"process {running.process.pid}" in second.stderr
        running.send(signal.SIGTERM)
        assert running.end() == 0
        slots = running.lines("marks")
        assert len(set(slots)) == len(slots)
        assert (running.lines("began"), running.lines("booted")) == ([""], [""])
        assert running.log.count("the ledger was lost") == 1


def let_files_grow(pid: int, size: int) -> None:
    """Let a process write no further than that into any file, as if the disk were full, or let it again."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


#: Room for a short log, and for no page of the ledger.
FULL = 4096


def test_what_cannot_be_recorded_is_refused_at_once_and_what_ends_something_is_done(tmp_path: Path) -> None:
    jobs = """
        [jobs.tick]
        every = "200ms"
        command = "echo $TASKMAN_TRIGGER >> marks"
        [jobs.long]
        every = "1h"
        run_on_start = true
        command = "exec sleep 1000"
    """
    with Running(tmp_path, jobs) as running:
        running.wait_for("marks", lines=2)
        scheduler = running.scheduler_pid()
        let_files_grow(scheduler, FULL)
        running.wait_for_log("the ledger cannot be written")
        for verb in (["trigger", "tick"], ["pause", "tick"], ["reload"], ["once", "--in", "1h", "true"]):
            refused = taskman(tmp_path, *verb)
            assert (refused.returncode, "cannot be recorded" in refused.stderr) == (1, True), verb
        words = "ledger cannot be written"  # of a slot that has come since then
        wait_until(lambda: words in " ".join(taskman(tmp_path, "why", "tick").stdout.split()), what=words)
        cancelled = taskman(tmp_path, "cancel", "long")
        assert (cancelled.returncode, "it is done, but not recorded" in cancelled.stderr) == (1, True)
        wait_until(lambda: "long: cancelled" in running.log, what="the end of the command")
        let_files_grow(scheduler, resource.RLIM_INFINITY)
        running.wait_for_log("the ledger can be written again")
        lines = len(running.lines("marks"))
        running.wait_for("marks", lines=lines + 2)
        assert set(running.lines("marks")) == {"slot"}
        assert "paused" not in taskman(tmp_path, "list").stdout
        running.send(signal.SIGTERM)
        assert running.end() == 0
    assert len(ledger(tmp_path, "SELECT seq FROM events WHERE kind = 'ledger_unwritable'")) == 1


LONG = """
    [jobs.long]
    every = "1h"
    run_on_start = true
    command = "echo $$ >> began; while [ ! -e go ]; do sleep 0.05; done"
"""


def full_and_killed(running: Running) -> int:
    """Let the disk be full, and the scheduler die; return the next one, which waits for room."""
    running.wait_for("began")
    let_files_grow(running.process.pid, FULL)
    running.kill_scheduler()
    running.wait_for_log("the ledger cannot be written")
    return running.scheduler_pid()


def test_a_scheduler_that_begins_while_the_disk_is_full_waits_for_room(tmp_path: Path) -> None:
    with Running(tmp_path, LONG) as running:
        scheduler = full_and_killed(running)
        running.path("go").touch()  # its end is not lost
        pid = int(running.lines("began")[0])
        wait_until(lambda: not is_alive(pid), what="the end of the command")
        for pid in (running.process.pid, scheduler):
            let_files_grow(pid, resource.RLIM_INFINITY)
        running.wait_for_log("the ledger can be written again")
        running.wait_for_log("long: succeeded")
        assert running.scheduler_pid() == scheduler
        running.send(signal.SIGTERM)
        assert running.end() == 0
    kinds = ledger(tmp_path, "SELECT kind FROM events WHERE kind LIKE 'ledger_%' ORDER BY seq")
    assert kinds == ["ledger_unwritable", "ledger_writable"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=["stop", "restart"])
def test_a_scheduler_that_waits_for_room_hears_what_it_is_told(tmp_path: Path, number: int) -> None:
    with Running(tmp_path, LONG) as running:
        scheduler = full_and_killed(running)
        running.send(number)
        if number == signal.SIGTERM:
            assert running.end() == 1
        else:
            wait_until(lambda: running.scheduler_pid() not in (0, scheduler), what="another scheduler")


def test_a_stop_that_cannot_be_recorded_is_a_stop_and_no_clean_one(tmp_path: Path) -> None:
    jobs = '[jobs.tick]\nevery = "200ms"\ncommand = "echo >> marks"'
    with Running(tmp_path, jobs) as running:
        running.wait_for("marks", lines=2)
        let_files_grow(running.scheduler_pid(), FULL)
        running.wait_for_log("the ledger cannot be written")
        assert taskman(tmp_path, "stop").returncode == 0
        assert running.end() == 1
        assert "is not on record" in running.log
