"""A user without an account and without HOME, as containers have it: `docker run --user 4242424`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN, Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UID = 4242424
#: The right to read all is for an interpreter that lies in root's home.
_AS_NOBODY = [
    "setpriv", f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
]  # fmt: skip
_ENVIRON = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
_JOBS = """
[jobs.job]
every = "1h"
run_on_start = true
command = "id -u; echo home=$HOME; pwd"
"""
_NOWHERE = (
    f"no place for the state: HOME is not set, and uid {_UID} has no account on this machine; set "
    "STATE_DIRECTORY to a directory of your own, or give --state-dir"
)


def _can_be_nobody() -> bool:
    try:
        probe = subprocess.run([*_AS_NOBODY, sys.executable, "-c", ""], capture_output=True, check=False)
    except OSError:
        return False
    return probe.returncode == 0


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not _can_be_nobody(), reason="only root, with setpriv, can be a user without account"
)


def ask(
    directory: Path, *arguments: str, code: int = 0, environ: dict[str, str] | None = None
) -> tuple[str, str]:
    """Run a command as that user; return what it says."""
    found = subprocess.run(
        [*_AS_NOBODY, TASKMAN, *arguments], cwd=directory, env=_ENVIRON | (environ or {}),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in found.stderr
    assert (arguments, code) == (arguments, found.returncode), found.stderr
    return found.stdout, found.stderr


@pytest.fixture
def running(public_path: Path) -> Iterator[Running]:
    with Running(public_path, _JOBS, environ=_ENVIRON, prefix=_AS_NOBODY) as running:
        running.wait_for_log("succeeded")
        yield running


def test_with_a_state_directory_all_works(running: Running) -> None:
    directory = running.directory
    state = {"STATE_DIRECTORY": str(directory / "state")}
    assert "1 succeeded" in ask(directory, "status", environ=state)[0]
    assert "every 1h" in ask(directory, "list", environ=state)[0]
    ask(directory, "once", "exit 3", "--wait", environ=state, code=3)
    assert ask(directory, "log", "job", environ=state)[0] == f"{_UID}\nhome=\n{directory}\n"
    assert "scheduler  process" in ask(directory, "doctor", environ=state)[0]
    assert f"uid {_UID}" in ask(directory, "test", "job", "jobs.toml", environ=state)[1]
    ask(directory, "stop", environ=state)
    assert running.end() == 0


def test_without_one_it_is_said_what_to_give(public_path: Path) -> None:
    (public_path / "jobs.toml").write_text(_JOBS)
    for arguments in (
        ("run", "jobs.toml"), ("status",), ("list",), ("once", "true"), ("doctor",), ("history",),
        ("explain", "job"),
    ):  # fmt: skip
        out, err = ask(public_path, *arguments, code=2)
        assert (out, err.splitlines()[0]) == ("", f"taskman: {_NOWHERE}")


def test_what_needs_no_state_works_without_one(public_path: Path) -> None:
    (public_path / "jobs.toml").write_text(_JOBS)
    for arguments in (
        ("check", "jobs.toml"), ("next", "jobs.toml"), ("explain", "@daily"), ("explain", "job", "jobs.toml"),
    ):  # fmt: skip
        out, err = ask(public_path, *arguments)
        assert out
        assert err == ""
