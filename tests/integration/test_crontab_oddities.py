"""What a crontab says and hardly ever means: told with place and fix, until a comment allows it."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main
from taskman_cli.jobfile import load

if TYPE_CHECKING:
    from pathlib import Path


def notes(tmp_path: Path, text: str) -> list[tuple[str, int, int]]:
    path = tmp_path / "tab"
    path.write_text(text)
    return [(note.name, note.line, note.column) for note in load([], user_crontabs=[path]).notes]


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("0 6 * * * tar czf /b/$(date +%F).tgz /h", 30),
        ("0 9 * * * %cat x", 11),
        ("0 9 * * * cat%", 14),
        ("0 9 * * * date +\\%F%", 20),
        ("0 9 * * * a\\\\%b", 14),
    ],
)
def test_a_bare_percent_is_reported_at_its_place(tmp_path: Path, line: str, column: int) -> None:
    assert notes(tmp_path, f"{line}\n") == [("bare-percent", 1, column)]


def test_the_words_say_what_runs_and_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "tab").write_text("0 6 * * * tar $(date +%F)\n0 9 * * * %cat\n0 9 * * * cat%\n")
    first, second, third = [note.message for note in load([], user_crontabs=[tmp_path / "tab"]).notes]
    fix = "; to use a % in the command, write \\%"
    assert first == (f'the command ends at the %: "tar $(date +"; the rest is its standard input{fix}')
    assert second == (
        f"there is no command before the %, which starts the standard input: this line runs nothing{fix}"
    )
    assert third == f'the command ends at the %: "cat"; its standard input is empty{fix}'


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("PATH=$HOME/bin:/usr/bin", "unexpanded"),
        ("PATH=/bin:~/bin", "unexpanded"),
        ("LOG=${HOME}/log", "unexpanded"),
        ("NOW=$(date)", "unexpanded"),
        ("TZ=Europe/Berlin", "idle-tz"),
        ("SHELL=/no/such/shell", "no-such-shell"),
        ("PRICE=5 $", ""),
        ("HERE=~", ""),
        ("SHELL=/bin/sh", ""),
        ('TZ=""', ""),
    ],
)
def test_a_misleading_assignment_is_reported(tmp_path: Path, line: str, name: str) -> None:
    expected = [(name, 2, 1)] if name else []
    assert notes(tmp_path, f"A=1\n{line}\n0 1 * * * date\n") == expected
    assert notes(tmp_path, f"0 1 * * * date\n{line}\n") == []


def test_a_comment_above_allows_it_for_every_command(tmp_path: Path) -> None:
    path = tmp_path / "tab"
    allow = "# taskman: allow bare-percent, idle-tz"
    path.write_text(f"{allow}\nTZ=UTC\n{allow}\n0 9 * * * cat%hello\n0 9 * * * cat%again\n")
    assert notes(tmp_path, path.read_text()) == [("bare-percent", 5, 14)]
    code, out, _ = run("check", "--json", "--user-crontab", str(path))
    found = [(one["name"], one["line"]) for one in json.loads(out)["warnings"]]
    assert (code, sorted(found)) == (0, [("bare-percent", 5), ("unused-allow", 1), ("unused-allow", 3)])
    _, _, err = run("import", "--user", str(path))
    assert err.count("[bare-percent]") == 1


def test_check_finds_bash_features_at_their_place(tmp_path: Path) -> None:
    shell = tmp_path / "dash"
    shell.write_text("")
    path = tmp_path / "tab"
    path.write_text(f"SHELL={shell}\n0 1 * * * date +\\%F; [[ a ]]\n* 16 * * * date\n")
    code, out, _ = run("check", "--strict", "--json", "--user-crontab", str(path))
    found = [(one["name"], one["line"], one["column"]) for one in json.loads(out)["warnings"]]
    assert (code, found) == (1, [("not-in-sh", 2, 22), ("every-minute", 3, 1)])
