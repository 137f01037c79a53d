"""The job file that commands use if they are given none: `./jobs.toml`; for root, one of /etc/taskman."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main
from taskman_cli.cli.options import files

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """\
[jobs.backup]
cron = "30 2 * * *"
command = "echo done"
"""
COMMANDS = [
    pytest.param(["check"], "backup", id="check"),
    pytest.param(["next", "-n", "1"], "backup", id="next"),
    pytest.param(["export", "--crontab"], "echo done", id="export"),
    pytest.param(["test", "backup"], "done", id="test"),
    pytest.param(["explain", "backup"], "02:30", id="explain"),
    pytest.param(["run", "--no-live", "--for", "0s"], "", id="run"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and no job file of root's."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    monkeypatch.setattr(files, "ROOT_FILE", str(tmp_path / "etc.toml"))
    monkeypatch.setattr(os, "execv", lambda *_: pytest.exit("a scheduler would start"))
    return tmp_path / "here"


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands take us for an ordinary user, whose files are ours."""
    uid = os.geteuid() or 1000
    monkeypatch.setattr(files.os, "geteuid", lambda: uid)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(("words", "shown"), COMMANDS[:-1])
def test_without_a_file_it_is_the_one_in_the_current_directory(
    words: list[str], shown: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "jobs.toml").write_text(JOBS)
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert shown in out
    assert "taskman: no FILE given: using ./jobs.toml\n" in err


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("words", [["check"], ["next"], ["export", "--crontab"], ["run"]])
def test_without_any_file_the_error_names_what_was_looked_for(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        "taskman: no FILE given, and there is no ./jobs.toml: name one, or let `taskman init` write one"
    )


@pytest.mark.usefixtures("as_user")
def test_a_document_is_not_disturbed_by_the_note(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "jobs.toml").write_text(JOBS)
    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == 1


@pytest.mark.parametrize(("words", "shown"), COMMANDS[:-1])
def test_root_uses_only_the_file_in_etc(
    words: list[str],
    shown: str,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if os.geteuid() != 0:
        monkeypatch.setattr(files.os, "geteuid", lambda: 0)
    (here / "jobs.toml").write_text("this would be an error")
    (tmp_path / "etc.toml").write_text(JOBS)
    if os.geteuid() == 0 and tmp_path.stat().st_uid != 0:
        pytest.skip("root does not trust this directory")
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert shown in out
    assert f"taskman: no FILE given: using {tmp_path}/etc.toml\n" in err


@pytest.mark.parametrize("words", [["check"], ["next"], ["export", "--crontab"], ["run"]])
def test_root_never_uses_the_file_of_the_current_directory_unasked(
    words: list[str],
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files.os, "geteuid", lambda: 0)
    (here / "jobs.toml").write_text(JOBS)
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        f"taskman: no FILE given, and there is no {tmp_path}/etc.toml, the only one that root uses unless "
        "one is named: name the one that is here, jobs.toml"
    )


def test_a_file_that_belongs_to_somebody_else_has_to_be_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "jobs.toml").write_text(JOBS)
    owner = (here / "jobs.toml").stat().st_uid
    if owner == 0:
        os.chown(here / "jobs.toml", 4711, -1)
    monkeypatch.setattr(files.os, "geteuid", lambda: 1234)
    assert main(["check"]) == 2
    err = capsys.readouterr().err
    assert "no FILE given, and ./jobs.toml belongs to " in err
    assert "name it if you trust it: taskman check ./jobs.toml" in err


@pytest.mark.usefixtures("as_user")
def test_a_crontab_that_was_given_is_enough(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "jobs.toml").write_text(JOBS)
    (here / "my.crontab").write_text("@daily true\n")
    assert main(["check", "--user-crontab", "my.crontab"]) == 0
    assert capsys.readouterr().err == ""
