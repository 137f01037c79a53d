"""The report of `taskman check`: root causes first and once, colours on a terminal, the number at the end."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from integration.following import TASKMAN

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

GOOD = '[jobs.{}]\nevery = "1h"\ncommand = "true"\n'


def headlines(err: str) -> list[str]:
    """Return the first line of each error, without the directory."""
    return [line.rpartition("/")[2] for line in err.splitlines() if line.startswith("/")]


def test_errors_of_whole_files_and_of_general_tables_come_first(tmp_path: Path, capsys: Captured) -> None:
    one, two, gone = (tmp_path / name for name in ("one.toml", "two.toml", "gone.toml"))
    one.write_text('[jobs.a]\nevery = "5x"\ncommand = "true"\n[defaults]\noverlap = "skp"\n')
    two.write_text("[jobs.b\n")
    assert main(["check", *map(str, (one, two, gone))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in headlines(err)] == [
        "two.toml",
        "gone.toml",
        "one.toml",
        "one.toml",
    ]
    assert [line.split(": ")[1] for line in headlines(err)[2:]] == ["defaults.overlap", "jobs.a.every"]
    assert err.splitlines()[-1] == "found 4 errors in 3 files"


def test_many_errors_with_one_cause_are_told_once_and_counted(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("".join(GOOD.format(name) + 'user = "no-such-user"\n' for name in "abc"))
    assert main(["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert [line.partition(" there is")[0] for line in headlines(err)] == ["jobs.toml:4:8: jobs.a.user:"]
    assert "(also lines 8, 12)" in err
    assert err.splitlines()[-1] == "found 3 errors in 1 file"
    # Two are few enough to be shown with their places.
    path.write_text("".join(GOOD.format(name) + 'user = "no-such-user"\n' for name in "ab"))
    assert main(["check", str(path)]) == 2
    assert len(headlines(capsys.readouterr().err)) == 2


def test_a_copy_of_a_file_is_one_cause(tmp_path: Path, capsys: Captured) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("".join(GOOD.format(f"job{number}") for number in range(9)))
    assert main(["check", str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]) == 2
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if "already defined" in line] == [
        f"{tmp_path}/b.toml:1:7: jobs.job0: already defined in {tmp_path}/a.toml:1, and so are 8 more jobs of"
        " this file: leave out one of the two"
    ]
    assert err.splitlines()[-1] == "found 9 errors in 1 file"


def test_without_errors_and_warnings_nothing_is_counted(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "jobs.toml").write_text(GOOD.format("a"))
    assert main(["check", str(tmp_path / "jobs.toml")]) == 0
    assert capsys.readouterr().err == ""


def on_a_terminal(tmp_path: Path, **environ: str) -> str:
    done = subprocess.run(
        ["script", "-qec", f"{TASKMAN} check jobs.toml", "/dev/null"],
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.replace("\r", "")


def test_colours_are_for_terminals_and_never_all_of_the_meaning(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(GOOD.format("a") + 'overlap = "skp"\n')
    shown = on_a_terminal(tmp_path)
    assert "\x1b[1mjobs.toml:4:11: \x1b[0mjobs.a.overlap: " in shown
    assert "\x1b[31m^^^^^\x1b[0m" in shown
    plain = on_a_terminal(tmp_path, NO_COLOR="1")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d*m", "", shown) == plain
    path.write_text('[jobs.a]\ncron = "*/7 * * * *"\ncommand = "true"\n')
    warned = on_a_terminal(tmp_path)
    assert "jobs.a.cron: \x1b[35mwarning:\x1b[0m minute" in warned
    assert warned.splitlines()[-1] == "found 1 warning in 1 file"
