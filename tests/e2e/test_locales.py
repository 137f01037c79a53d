"""Under any locale commands, paths and files are bytes, and what people read fits their terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN, Running
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATIN_1 = "sv_SE.ISO-8859-1"
#: What each locale is made of.
_LOCALES = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LANG": "C"},
    "POSIX": {"LC_ALL": "POSIX"},
    "ascii": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"LC_ALL": _LATIN_1},
    "latin-1 for sure": {"LC_ALL": _LATIN_1, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
_JOBS = """
[jobs.utf8]
every = "1h"
run_on_start = true
command = "printf 'é😀' > utf8"
[jobs.fails]
every = "1h"
run_on_start = true
command = ["./nïx"]
[jobs.env]
every = "1h"
run_on_start = true
command = "env -0 > environ"
"""


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a Swedish Latin-1 locale in it."""
    directory = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        pytest.skip("no localedef(1) here to make a Latin-1 locale with")
    make = ["localedef", "-i", "sv_SE", "-f", "ISO-8859-1", directory / _LATIN_1]
    made = subprocess.run(make, capture_output=True, check=False)
    if made.returncode and not (directory / _LATIN_1).exists():
        pytest.skip("no sources here to make a Latin-1 locale from")
    return directory


@pytest.fixture(scope="module", params=_LOCALES)
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return an environment with one of the locales."""
    chosen = _LOCALES[request.param]
    if _LATIN_1 in chosen.values():
        chosen = chosen | {"LOCPATH": str(request.getfixturevalue("locales"))}
    without = ("LANG", "LC_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return kept | chosen | {"ODD": os.fsdecode(b"\xe9\xff")}


@pytest.fixture(scope="module")
def running(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a scheduler with that locale."""
    tmp_path = tmp_path_factory.mktemp("running")
    # A command of a crontab starts in the home directory.
    tab = b"@reboot printf 'caf\xe9' > " + os.fsencode(tmp_path) + b"/latin1\n"
    (tmp_path / "tab").write_bytes(tab)
    with Running(tmp_path, _JOBS, "--user-crontab", "tab", environ=environ) as running:
        yield running


def _taskman(running: Running, *words: str | bytes, code: int = 0) -> bytes:
    environ = running.env
    done = subprocess.run(
        [TASKMAN, *words], cwd=running.directory, env=environ, capture_output=True, check=False, timeout=60
    )
    assert (code, b"") == (done.returncode, done.stderr if done.returncode != code else b"")
    assert b"Traceback" not in done.stderr
    return done.stdout


def _content(running: Running, name: str) -> bytes:
    path = running.path(name)
    return path.read_bytes() if path.exists() else b""


def test_commands_crontabs_and_files_are_bytes(running: Running) -> None:
    running.wait_for_log("fails: failed")
    for name, expected in (("utf8", "é😀".encode()), ("latin1", b"caf\xe9")):
        wait_until(lambda name=name: _content(running, name), what=name)
        assert _content(running, name) == expected
    _taskman(running, "once", "--wait", "--", "sh", "-c", 'printf %s "$1" > "$2"', "-", b"\xe9", b"out\xe9")
    assert _content(running, os.fsdecode(b"out\xe9")) == b"\xe9"
    _taskman(running, "once", "--wait", b"printf '\xe9\xc3\xa9' > mixed")
    assert _content(running, "mixed") == b"\xe9\xc3\xa9"
    [fails] = json.loads(_taskman(running, "history", "fails", "--json"))
    assert fails["reason"] == "not found: ./nïx"


def test_a_command_gets_no_variable_that_nobody_gave_it(running: Running, environ: dict[str, str]) -> None:
    wait_until(lambda: b"ODD=\xe9\xff\0" in _content(running, "environ"), what="the environment")
    found = _content(running, "environ").split(b"\0")
    given = [os.fsencode(f"{name}={value}") for name, value in environ.items()]
    about_locales = (b"LC_", b"LANG=", b"PYTHON")
    assert {item for item in given if item.startswith(about_locales)} == {
        item for item in found if item.startswith(about_locales)
    }


def test_what_people_read_is_in_the_encoding_of_the_locale(running: Running, environ: dict[str, str]) -> None:
    running.wait_for_log("fails: failed")
    encoding = "latin-1" if _LATIN_1 in environ.values() else "utf-8"
    assert "not found: ./nïx".encode(encoding) in _taskman(running, "history", "fails")
    assert "not found: ./nïx".encode(encoding) in running.log_path.read_bytes()
