"""The examples load, show what they are for, and run on a machine that has next to nothing."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.model import Mode, Output, Overlap
from taskman_cli.core.schedule import CronSchedule, Interval, Reboot
from taskman_cli.jobfile import load

if TYPE_CHECKING:
    from taskman_cli.jobfile import JobFile

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.toml"))
SECOND_NS = 1_000_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shell_command_of_an_example_is_right_in_the_eyes_of_the_shell(path: Path) -> None:
    for job in load([path]).jobs:
        for task in job.tasks:
            if isinstance(task.command, str):
                subprocess.run(["/bin/sh", "-n", "-c", task.command], check=True)


@pytest.fixture
def quickstart() -> JobFile:
    return load([EXAMPLES / "quickstart.toml"])


@pytest.fixture
def server() -> JobFile:
    return load([EXAMPLES / "server.toml"])


def test_the_quickstart_shows_itself_off_within_twenty_seconds(quickstart: JobFile) -> None:
    jobs = {job.id: job for job in quickstart.jobs}
    intervals = [job.schedule.every_ns for job in jobs.values() if isinstance(job.schedule, Interval)]
    assert intervals
    # Each interval comes round at least twice, and none just as the twenty seconds end.
    assert all(20 * SECOND_NS / every_ns >= 2 for every_ns in intervals)
    assert all(20 * SECOND_NS % every_ns for every_ns in intervals)
    assert any(
        isinstance(job.schedule, CronSchedule) and len(job.schedule.text.split()) == 6
        for job in jobs.values()
    )
    assert {job.policy.mode for job in jobs.values() if len(job.tasks) > 1} == {Mode.PARALLEL, Mode.SEQUENCE}
    executions = [task.execution for job in jobs.values() for task in job.tasks]
    assert any(execution.retry.max for execution in executions)
    assert any(
        execution.timeout_ns is not None and execution.timeout_ns < 5 * SECOND_NS for execution in executions
    )


def test_the_server_has_a_dozen_jobs_and_uses_what_there_is(server: JobFile) -> None:
    assert len(server.jobs) >= 12
    assert sum(isinstance(job.schedule, CronSchedule) for job in server.jobs) >= 8
    assert any(isinstance(job.schedule, Reboot) for job in server.jobs)
    assert all(job.policy.overlap is Overlap.SKIP for job in server.jobs)
    executions = [task.execution for job in server.jobs for task in job.tasks]
    assert all(execution.timeout_ns and execution.output is Output.CAPTURE for execution in executions)
    text = (EXAMPLES / "server.toml").read_text("utf-8")
    for key in (
        "env",
        "retry",
        "start_deadline",
        "jitter",
        "nice",
        "umask",
        "cwd",
        "success_exit_codes",
        "mode",
    ):
        assert re.search(rf"^{key} = ", text, re.M), key
    tables = tomllib.loads(text)["jobs"]
    assert all("description" in table for table in tables.values() if isinstance(table, dict))


@pytest.mark.parametrize(
    "name", ["backup", "database-dump", "certificates", "disk", "service-health", "mail-queue"]
)
def test_a_job_of_the_server_succeeds_or_explains_itself_where_nothing_is_installed(
    name: str, server: JobFile, tmp_path: Path
) -> None:
    (job,) = [job for job in server.jobs if job.id == name]
    for task in job.tasks:
        assert isinstance(task.command, str)
        env = {**task.execution.env, "HOME": str(tmp_path), "STATE": str(tmp_path), "PATH": "/usr/bin:/bin"}
        if name == "backup":
            # As it stands it archives /etc, which need not be small; the shell's own commands are the same.
            task_command = task.command.replace("-C /", f"-C {tmp_path}")
            (tmp_path / "etc").mkdir(exist_ok=True)
            (tmp_path / "etc" / "passwd").write_text("root\n", "utf-8")
        else:
            task_command = task.command
        result = subprocess.run(
            ["/bin/sh", "-c", task_command],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
        )
        # Of the disk the state is the machine's affair; all else has to be well.
        assert result.returncode == 0 or (
            name == "disk" and "full" in result.stdout + "in use" in result.stdout
        ), result
