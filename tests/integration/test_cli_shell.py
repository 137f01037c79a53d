"""The installed `taskman` as a process: pipes, full disks, odd encodings, and what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

TASKMAN = Path(sys.executable).with_name("taskman")

#: Longer than a pipe holds.
MANY = ["next", "--cron", "* * * * *", "-n", "5000"]


def run(
    *arguments: str, stdout: int = subprocess.PIPE, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    # Unbuffered, Python cuts a write short instead of telling that the reader left.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [TASKMAN, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment | dict(env or {}),
    )


@pytest.mark.parametrize(
    "arguments", [MANY, [*MANY, "--json"], ["--help"]], ids=["next", "next --json", "--help"]
)
def test_a_closed_pipe_is_not_reported_as_an_error(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = run(*arguments, stdout=writer)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [MANY, ["--help"]], ids=["next", "--help"])
def test_a_full_disk_is_reported_in_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run(*arguments, stdout=full.fileno())
    assert (result.returncode, result.stderr) == (1, b"taskman: No space left on device\n")


@pytest.mark.parametrize("has_reader", [True, False], ids=["a full disk", "no reader"])
def test_messages_that_cannot_be_written_do_not_change_the_exit_code(has_reader: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    target = os.open("/dev/full", os.O_WRONLY) if has_reader else os.dup(writer)
    try:
        done = subprocess.run([TASKMAN, "frobnicate"], check=False, stdout=subprocess.PIPE, stderr=target)
    finally:
        os.close(target)
        os.close(writer)
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_file_name_that_the_terminal_cannot_show_causes_no_traceback(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/m\xc3\xa4rz\xff.toml"
    Path(os.fsdecode(name)).write_text("x = 1\n", "utf-8")
    for encoding in ("ascii", "latin-1", "utf-8"):
        result = run("check", os.fsdecode(name), env={"PYTHONIOENCODING": encoding})
        assert result.returncode == 2
        assert b"Traceback" not in result.stderr
        assert b": x: " in result.stderr


def test_usage_errors_leave_standard_output_empty() -> None:
    result = run("frobnicate")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"there is no command" in result.stderr


def test_python_m_taskman_cli_is_the_same_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "taskman_cli", "--version"], check=True, capture_output=True, cwd="/"
    )
    assert result.stdout == run("--version").stdout


HEAVY = {"asyncio", "msgspec", "rich", "sqlite3", "tomli", "tomllib", "tzlocal", "zoneinfo"}


@pytest.mark.parametrize(
    ("script", "unwanted"),
    [
        pytest.param(
            "from taskman_cli.__main__ import main; main(['--help'])",
            HEAVY | {"taskman_cli.core", "taskman_cli.jobfile", "taskman_cli.ui"},
            id="taskman --help",
        ),
        pytest.param(
            "from taskman_cli.__main__ import main; main(['next', '--every', '1m'])",
            {"asyncio", "rich", "sqlite3"},
            id="taskman next",
        ),
        pytest.param(
            "import taskman_cli.supervisor.loop", HEAVY | {"click", "dataclasses", "typing"}, id="supervisor"
        ),
    ],
)
def test_nothing_heavy_is_loaded_where_it_is_not_used(script: str, unwanted: set[str]) -> None:
    command = [sys.executable, "-c", f"import sys; {script}; print('loaded:', *sys.modules)"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    loaded = set(output.rpartition("loaded: ")[2].split())
    assert "taskman_cli" in loaded
    assert loaded & unwanted == set()
