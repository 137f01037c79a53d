"""Limits of jobs through the real program: who is over fails alone, and everybody who asks is told why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import call
from e2e.running import TASKMAN, Running
from process_table import is_alive
from wait import wait_until

from taskman_cli.launch.tokens import group_prefix, read_secret
from taskman_cli.supervisor.closing import close_here
from taskman_cli.supervisor.groups import find_place

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = find_place()
pytestmark = pytest.mark.skipif(
    not {"memory", "processes"} <= PLACE.works or PLACE.kind == "systemd",
    reason="no control groups can be made here",
)


@pytest.fixture(autouse=True)
def swept(tmp_path: Path) -> Iterator[None]:
    """Remove the groups that a test leaves, since its taskman is killed."""
    yield
    for name in PLACE.leftovers(group_prefix(read_secret(tmp_path / "state"))):
        close_here(PLACE.group(name))


WORDS = "over its memory limit of 100 MiB"
HOG = f"""{sys.executable} -IS -c "x = b'x' * {300 << 20}" """
JOBS = f"""
[sinks.file]
type = "file"
path = "told"

[defaults]
limits = {{ memory = "100MiB" }}
sinks = ["file"]

[jobs.hog]
every = "1h"
run_on_start = true
command = '''{HOG}'''

[jobs.other]
every = "1h"
run_on_start = true
command = "echo $$ > other; exec sleep 600"
"""


def taskman(running: Running, *words: str, expected: int = 0) -> str:
    done = call(words, env=running.env, text=True)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_job_over_its_limit_of_memory_fails_alone_and_is_told_as_such_everywhere(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log(f"hog: failed (killed by SIGKILL ({WORDS}))")
        assert WORDS in taskman(running, "history", "--json")
        why = taskman(running, "why", "hog")
        assert WORDS in why
        assert "limits.memory" in why
        wait_until(lambda: WORDS in "".join(running.lines("told")), what="the sink is told")
        assert is_alive(int(running.wait_for("other")[0]))


def test_a_daemon_ends_with_its_run(tmp_path: Path) -> None:
    job = """
[jobs.leaves]
every = "1h"
run_on_start = true
limits = { processes = 20 }
command = "setsid sh -c 'echo $$ > daemon; exec sleep 600' & while [ ! -s daemon ]; do sleep 0.1; done"
"""
    with Running(tmp_path, job) as running:
        daemon = int(running.wait_for("daemon")[0])
        running.wait_for_log("leaves: succeeded")
        wait_until(lambda: not is_alive(daemon), what="the daemon ends")


def test_test_runs_a_job_within_its_limits(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    done = subprocess.run(
        [TASKMAN, "test", "hog", "jobs.toml"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 137
    assert WORDS in done.stderr


def trial(tmp_path: Path, job: str) -> tuple[int, str, set[str]]:
    """Run `taskman test` of a job; return its exit code, what it said, and the groups that it left."""
    (tmp_path / "jobs.toml").write_text(f'[jobs.trial]\nevery = "1h"{job}')
    process = subprocess.Popen(
        [TASKMAN, "test", "trial", "jobs.toml"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    _, words = process.communicate()
    left = PLACE.leftovers(f"taskman-test-{process.pid}-")
    for name in left:
        close_here(PLACE.group(name))
    return process.returncode, words, {name.removeprefix(f"taskman-test-{process.pid}-") for name in left}


def test_a_trial_that_cannot_be_started_leaves_no_group(tmp_path: Path) -> None:
    job = """
limits = { processes = 20, open_files = 1_000_000_000 }
command = "true"
"""
    code, words, left = trial(tmp_path, job)
    assert (code, left) == (126, set())
    assert "limits.open_files = 1000000000 is above the hard limit" in words


def test_a_trial_of_a_job_that_may_leave_something_is_told_of_its_memory(tmp_path: Path) -> None:
    job = f"""
kill_orphans = false
limits = {{ memory = "100MiB" }}
command = '''{HOG}'''
"""
    code, words, left = trial(tmp_path, job)
    assert (code, left) == (137, set())
    assert WORDS in words


def test_a_trial_leaves_the_processes_that_may_live_on_and_the_next_one_removes_its_group(
    tmp_path: Path,
) -> None:
    job = f"""
kill_orphans = false
limits = {{ processes = 20 }}
command = "setsid sleep 600 >/dev/null 2>&1 & echo $! >{tmp_path}/daemon"
"""
    abandoned = PLACE.group(f"taskman-test-{4 << 20}-main")  # no process can have this number
    for path in abandoned.dirs.values():
        Path(path).mkdir(exist_ok=True)
    code, _, left = trial(tmp_path, job)
    assert (code, left) == (0, {"keep-main"})
    assert not abandoned.exists
    daemon = int((tmp_path / "daemon").read_text())
    wait_until(lambda: not is_alive(daemon), what="the test has ended it")
