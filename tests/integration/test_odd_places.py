"""Commands where something is not there that is taken for granted: a directory, a stream, a home, zones."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from e2e.running import TASKMAN
from integration.ledger_tables import Written

from taskman_cli.core.engine import effects
from taskman_cli.core.model import Execution, Task, Trigger
from taskman_cli.errors import InstanceError
from taskman_cli.instance.directory import state_directory
from taskman_cli.launch.environment import Environments
from taskman_cli.launch.spec import Plans
from taskman_cli.scheduler.options import Options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state directory with a ledger in it."""
    (tmp_path / "state").mkdir()
    Written(tmp_path / "state").close()
    (tmp_path / "jobs.toml").write_text('[jobs]\na = "@daily true"\n')
    return tmp_path / "state"


def say(state: Path, script: str, **environ: str) -> tuple[int, str]:
    """Run a script of the shell, in which $T is taskman; return its code and all that it printed."""
    env = os.environ | {"STATE_DIRECTORY": str(state), "T": TASKMAN, "J": str(state.parent / "jobs.toml")}
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=state.parent, env=env | environ, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=30,
    )  # fmt: skip
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nobody_who_reads(state: Path, closed: str) -> None:
    for command in ("history", "history --json", "events", "schema", "next $J"):
        code, said = say(state, f"$T {command} {closed}")
        assert (code, said in ("", "taskman: nothing found\n")) == (0, True), command


def test_a_directory_that_is_gone_is_named(state: Path) -> None:
    for command in ("check x.toml", "next x.toml", "export --crontab x.toml", "run x.toml", "once true"):
        code, said = say(state, f"mkdir gone; cd gone; rmdir ../gone; $T {command}")
        assert code == 1
        assert "the current directory no longer exists" in said


def test_a_directory_that_is_gone_need_not_matter(state: Path) -> None:
    for command in ("history", "next --cron @daily", "next $J", "check $J"):
        assert say(state, f"mkdir gone; cd gone; rmdir ../gone; $T {command}")[0] == 0, command


@pytest.mark.parametrize("since", ["2262-04-12", "9999-12-31", "0001-01-01", "1677-01-01"])
def test_times_that_no_ledger_has_are_times(state: Path, since: str) -> None:
    assert say(state, f"$T history --json --since {since}") == (0, "[]\n")


def test_without_a_home_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(InstanceError, match=r"no place for the state: HOME is not set.*STATE_DIRECTORY"):
        state_directory({}, is_root=False)


def test_many_names_of_files_are_several_words() -> None:
    options = Options(tuple(f"{number:0200}.toml" for number in range(2_000)), "/state")
    words = options.to_words()
    assert max(map(len, words)) < 128 << 10
    assert options == Options.from_json("".join(words))


@pytest.mark.parametrize("timezone", ["", "UTC"])
def test_utc_needs_no_database_of_zones(state: Path, tmp_path: Path, timezone: str) -> None:
    (tmp_path / "tzdata").mkdir()
    (tmp_path / "tzdata" / "__init__.py").write_text("raise ImportError")
    environ = {"PYTHONTZPATH": "", "PYTHONPATH": str(tmp_path), "TZ": timezone}
    for command in ("check $J", "next --cron @daily", "explain @daily", "history --since 2h"):
        assert say(state, f"$T {command}", **environ)[0] == 0, command
    code, said = say(state, "$T next --cron @daily --timezone Europe/Stockholm", **environ)
    assert (code, "no time zone data is installed (apt install tzdata)" in said) == (2, True)
    assert "there is no time zone data: only UTC is known" in say(state, "$T doctor", **environ)[1]


def test_zones_come_from_the_package_where_the_system_has_none(state: Path) -> None:
    code, said = say(state, "$T next --cron @daily --timezone Europe/Stockholm", PYTHONTZPATH="")
    assert (code, "+01:00" in said or "+02:00" in said) == (0, True)
    assert "zones from the package tzdata" in say(state, "$T doctor", PYTHONTZPATH="", TZ="")[1]


def test_variables_of_one_start_are_what_the_shell_would_make_of_them() -> None:
    task = Task("main", "pwd-of-mine", Execution())
    plans = Plans(Environments({"PATH": "/bin"}, cwd="/srv"), cwd="/srv", shell_name="dash")
    start = effects.Start("r.main.1", "r", "job", task, 1, None, Trigger.MANUAL, {})
    usual = plans.spec(start, path=None)
    assert (usual["argv"], usual["env"]["PWD"]) == (["pwd-of-mine"], "/srv")
    for name in ("PWD", "IFS"):  # no affair of ours: only the shell knows
        spec = plans.spec(replace(start, params={name: "/x"}), path=None)
        assert (
            spec["argv"],
            spec["shell"],
            spec["env"][name],
        ) == (["/bin/sh", "-c", "pwd-of-mine"], None, "/x")
    other = plans.spec(replace(start, params={"A": "1"}), path=None)
    assert (other["argv"], other["env"]["A"]) == (["pwd-of-mine"], "1")
    assert usual == plans.spec(start, path=None)
