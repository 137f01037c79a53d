"""Job files that change, vanish, are wrong or hang while `taskman run` works with them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from command_line import call
from e2e.running import TASKMAN, Running
from process_table import children, command_line, is_alive, kill
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JOB = '[jobs.{}]\nevery = "1h"\ncommand = "true"\n'
WATCHING = '[taskman]\nwatch = true\nread_timeout = "50s"\ninclude = ["jobs.d/*.toml"]\n' + JOB.format("a")


def ask(running: Running, *words: str, code: int = 0) -> str:
    env = os.environ | {"STATE_DIRECTORY": str(running.directory / "state"), "COLUMNS": "200"}
    done = call(words, env=env, cwd="/", text=True)
    assert code == done.returncode, done
    return done.stdout + done.stderr


def is_read(running: Running) -> bool:
    env = os.environ | {"STATE_DIRECTORY": str(running.directory / "state")}
    return bool(call(["reload"], env=env).stdout == b"nothing changed: 2 jobs\n")


def jobs_of(running: Running) -> list[str]:
    return [job["job"] for job in json.loads(ask(running, "list", "--json"))]


def kinds(running: Running) -> list[str]:
    return [json.loads(line)["kind"] for line in ask(running, "events", "--json").splitlines()]


def started(tmp_path: Path, jobs: str = WATCHING) -> Running:
    place = tmp_path / "place"
    (place / "jobs.d").mkdir(parents=True)
    (place / "jobs.d/b.toml").write_text(JOB.format("b"))
    running = Running(place, jobs)
    # Outside of what the tests remove.
    running.wait_for_log("2 jobs from" if "include" in jobs else "1 job from")
    return running


def test_what_is_removed_is_gone_and_what_comes_after_is_seen(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        running.path("jobs.d/b.toml").unlink()
        running.wait_for_log("reload (watch): removed job: b")
        running.path("jobs.d").rmdir()
        running.path("jobs.d").mkdir()
        running.path("jobs.d/c.toml").write_text(JOB.format("c"))
        running.wait_for_log("reload (watch): added job: c")
        assert jobs_of(running) == ["a", "c"]


def test_a_link_that_is_swapped_as_kubernetes_does_is_a_change(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        for name in ("1", "2"):
            running.path(name).mkdir()
            running.path(f"{name}/k.toml").write_text(JOB.format(f"k{name}"))
        running.path("..data").symlink_to("1")
        running.path("jobs.d/k.toml").symlink_to("../..data/k.toml")
        running.wait_for_log("added job: k1")
        running.path("new").symlink_to("2")
        running.path("new").rename(running.path("..data"))
        running.wait_for_log("added job: k2; removed job: k1")


def test_a_directory_that_is_gone_is_told_of_and_seen_when_it_is_there_again(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "jobs.toml").write_text(WATCHING)
    state = {"STATE_DIRECTORY": str(tmp_path / "state")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [TASKMAN, "run", "jobs.toml"], cwd=place, env=os.environ | state, stdout=log, stderr=log
        )
    try:
        said: Callable[[str], bool] = lambda words: words in (tmp_path / "log").read_text()  # noqa: E731
        wait_until(lambda: said("1 job from"), timeout_s=60, what="a start")
        shutil.rmtree(place)
        wait_until(
            lambda: said(f"taskman was started in {place}, and that directory is no longer accessible"),
            timeout_s=60,
        )
        done = subprocess.run(
            [TASKMAN, "reload"], cwd="/", env=os.environ | state, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert f"started in {place}" in done.stderr
        place.mkdir()
        (place / "jobs.toml").write_text(WATCHING + JOB.format("again"))
        wait_until(lambda: said("reload (watch): added job: again"), timeout_s=60)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_bad_edit_is_told_everywhere_until_the_file_is_right_again(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        running.path("jobs.d/b.toml").write_text(JOB.format("b") + "junk = 1\ncommnd = 2\n")
        running.wait_for_log("4 | junk = 1\n")
        told = [line for line in running.log.splitlines() if " error " in line]
        assert "reload (watch): nothing was changed" in told[0]
        assert told[1].endswith("jobs.d/b.toml:4:1: jobs.b.junk: unknown key")
        assert "\\x" not in running.log
        assert "jobs.d/b.toml:4:1: jobs.b.junk: unknown key (and 1 more)" in ask(running, "status")
        assert "jobs.b.commnd" in json.loads(ask(running, "status", "--json"))["files_trouble"]["words"]
        assert "jobs.b.junk" in ask(running, "doctor", code=1)
        assert "reload_failed" in kinds(running)
        # A scheduler that takes over knows of it, too.
        before = running.scheduler_pid()
        kill(before, signal.SIGKILL)
        wait_until(lambda: running.scheduler_pid() != before)
        assert "jobs.b.junk" in ask(running, "status")
        assert kinds(running).count("reload_failed") == 1
        running.path("jobs.d/b.toml").write_text(JOB.format("b"))
        running.wait_for_log("reload (watch): nothing changed")
        assert json.loads(ask(running, "status", "--json"))["files_trouble"] is None


def test_a_bad_edit_that_is_taken_back_while_nobody_looks_is_no_trouble_any_more(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        running.path("jobs.d/c.toml").write_text("junk")
        running.wait_for_log("nothing was changed")
        before = running.scheduler_pid()
        os.kill(before, signal.SIGSTOP)
        running.path("jobs.d/c.toml").unlink()
        kill(before, signal.SIGKILL)
        running.wait_for_log("reload (watch): nothing changed")
        assert json.loads(ask(running, "status", "--json"))["files_trouble"] is None


def test_a_good_reload_says_in_one_line_what_changed(tmp_path: Path) -> None:
    with started(tmp_path, JOB.format("a")) as running:
        running.path("jobs.toml").write_text(
            "[pool]\nmax_workers = 3\n" + JOB.format("a").replace("1h", "2h")
        )
        running.send(signal.SIGHUP)
        running.wait_for_log("reload (SIGHUP): changed job: a; changed settings: max_workers")
        running.path("jobs.toml").write_text(JOB.format("a").replace("1h", "2h"))
        assert ask(running, "reload") == "changed settings: max_workers\n"


def test_what_is_not_there_is_told_by_reload_and_add_and_in_the_log(tmp_path: Path) -> None:
    with started(tmp_path, WATCHING.replace("watch = true\n", "")) as running:
        running.path("jobs.d/b.toml").write_text(JOB.format("b") + 'cwd = "/no/such/place"\n')
        told = ask(running, "reload")
        assert 'jobs.d/b.toml:4:7: jobs.b.cwd: warning: there is no directory "/no/such/place"' in told
        assert "changed b\n" in told
        running.wait_for_log("[no-such-cwd]")
        added = ask(running, "add", "c", "--every", "1h", "--", "no-such-program-of-mine")
        assert "[no-such-program]" in added
        assert "no-such-cwd" not in added
        ask(running, "reload")
        assert running.log.count("[no-such-cwd]") == 1


def reader_of(running: Running) -> int:
    """Wait for the process that reads the files, and stop it."""

    def found() -> int | None:
        for pid in children(running.scheduler_pid()):
            if "taskman_cli.cli.reader" in command_line(pid):
                os.kill(pid, signal.SIGSTOP)
                return pid
        return None

    return wait_until(found, timeout_s=60, what="a process that reads the files")


@pytest.fixture
def hanging(tmp_path: Path) -> Running:
    """Start a taskman that does not watch, since that would read, too."""
    return started(tmp_path, WATCHING.replace("watch = true\n", ""))


def test_reading_that_hangs_is_given_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with started(tmp_path, WATCHING.replace("watch = true\n", "").replace("50s", "3s")) as running:
        running.send(signal.SIGHUP)
        reader = reader_of(running)
        running.wait_for_log("not read within 3 s ([taskman] read_timeout)")
        assert not is_alive(reader)
        assert "read_timeout" in ask(running, "status")
        # On a busy machine it may take that long without any fault.
        wait_until(lambda: is_read(running), what="a reload that reads all")
        assert "read_timeout" not in ask(running, "status")


def test_a_stop_ends_what_still_reads(hanging: Running) -> None:
    with hanging as running:
        running.path("jobs.toml").write_text('[taskman]\nread_timeout = "1h"\n')
        ask(running, "reload")
        running.send(signal.SIGHUP)
        reader = reader_of(running)
        ask(running, "stop")
        assert running.end() == 0
        assert not is_alive(reader)


def test_a_named_pipe_in_the_place_of_the_file_is_refused(hanging: Running) -> None:
    with hanging as running:
        running.path("jobs.toml").unlink()
        os.mkfifo(running.path("jobs.toml"))
        assert "a named pipe" in ask(running, "reload", code=2)
        assert jobs_of(running) == ["a", "b"]


def test_a_named_pipe_is_not_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    state = {"STATE_DIRECTORY": str(tmp_path / "state")}
    for verb in ("check", "run"):
        done = subprocess.run(
            [TASKMAN, verb, str(tmp_path / "pipe")],
            env=os.environ | state,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert "a named pipe" in done.stderr
