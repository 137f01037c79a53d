"""Lint of `taskman check` on real files: what is looked up, exit codes, JSON, and what root refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone is protected from others")


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Check a text; return the exit code and the names of the findings."""

    def run(text: str, *options: str, name: str = "jobs.toml") -> tuple[int, list[str]]:
        path = tmp_path / name
        path.write_text(text)
        code = main(["check", "--json", "--state-dir", str(tmp_path / "state"), *options, str(path)])
        return code, [warning["name"] for warning in json.loads(capsys.readouterr().out)["warnings"]]

    return run


def jobs(command: str, more: str = "") -> str:
    return f"[jobs.x]\nevery = '1h'\ncommand = {command}\n{more}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(jobs("['no-such-program-of-mine']"), ["no-such-program"], id="array"),
        pytest.param(jobs("'no-such-program-of-mine --now'"), ["no-such-program"], id="string"),
        pytest.param(jobs("['/no/such/program']"), ["no-such-program"], id="path"),
        pytest.param(jobs("['sh']"), [], id="there"),
        pytest.param(jobs("['bin/sh']", "cwd = '/'"), [], id="from the directory of the job"),
        pytest.param(jobs("['./sh']", "cwd = '/etc'"), ["no-such-program"], id="not there"),
        pytest.param(jobs("['sh']", "env = { PATH = '/nowhere' }"), ["no-such-program"], id="another PATH"),
        pytest.param(
            jobs("['no-such']", "env_file = '/no/such/file'"), ["no-such-env-file"], id="PATH is not known"
        ),
        pytest.param(jobs("'X=1 no-such-program'"), [], id="not plain"),
        pytest.param(jobs("['no-such-program']", "enabled = false"), [], id="disabled"),
    ],
)
def test_programs_are_looked_for_as_a_start_would(
    check: Callable[..., tuple[int, list[str]]], text: str, expected: list[str]
) -> None:
    assert check(text) == (0, expected)


def test_strict_fails_for_warnings_alone(check: Callable[..., tuple[int, list[str]]]) -> None:
    warning = "[jobs]\nx = '*/7 * * * * true'\n"
    info = "[jobs]\n" + "".join(f"x{number} = '0 0 * * * true'\n" for number in range(5))
    assert check(warning) == (0, ["uneven-step"])
    assert check(warning, "--strict") == (1, ["uneven-step"])
    assert check(warning.replace("x =", "# taskman: allow uneven-step\nx ="), "--strict") == (0, [])
    assert check(info + "[taskman]\ntimezone = 'UTC'\n", "--strict") == (0, ["herd"])


def test_a_comment_inside_of_a_table_in_braces_allows_what_is_wrong_with_the_next_line(
    check: Callable[..., tuple[int, list[str]]],
) -> None:
    tables = "env = { # }\n}\ntasks = {\n  # COMMENT\n  a = ['no-such-program'], # }\n}\n"
    text = f"[jobs.x]\nevery = '1h'\n{tables}"
    assert check(text) == (0, ["no-such-program"])
    assert check(text.replace("COMMENT", "taskman: allow no-such-program")) == (0, [])
    unused = text.replace("# }", "# taskman: allow herd", 1).replace(
        "COMMENT", "taskman: allow no-such-program"
    )
    assert check(unused) == (0, ["unused-allow"])


def test_warnings_go_to_standard_error_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("[jobs.x]\ncron = '*/7 * * * *'\ncommand = 'true'\n")
    assert main(["check", "--state-dir", str(tmp_path / "state"), str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("x  */7 * * * *")
    assert err.startswith(f"{path}:2:8: jobs.x.cron: warning: ")
    source = "    2 | cron = '*/7 * * * *'\n      |        ^^^^^^^^^^^^^\n"
    assert err.endswith(f"[uneven-step]\n{source}found 1 warning in 1 file\n")


def test_a_warning_in_json_has_all_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("[jobs.x]\ncron = '*/45 * * * *'\ncommand = 'true'\n")
    main(["check", "--json", "--state-dir", str(tmp_path / "state"), str(path)])
    assert json.loads(capsys.readouterr().out)["warnings"][0] == {
        "name": "uneven-step",
        "severity": "warning",
        "file": str(path),
        "line": 2,
        "column": 8,
        "key": "jobs.x.cron",
        "message": 'minute "*/45" is uneven: from 45 to 0 of the next hour is 15 minutes, not 45',
        "fix": "use a step that divides it, list the values, or use every",
    }


def test_an_included_file_has_its_own_findings_and_comments(
    check: Callable[..., tuple[int, list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "more.toml").write_text("[jobs]\ny = '*/7 * * * * true' # taskman: allow uneven-step\n")
    (tmp_path / "most.toml").write_text("[jobs]\nz = '*/7 * * * * true'\n")
    assert check("[taskman]\ninclude = ['more.toml', 'most.toml']\n") == (0, ["uneven-step"])


def test_a_crontab_is_linted_too_and_its_comments_allow(check: Callable[..., tuple[int, list[str]]]) -> None:
    line = "*/7 * * * * true"
    guessed = "crontab"
    assert check(f"{line}\n", name="mine.crontab") == (0, [guessed, "uneven-step"])
    assert check(f"# taskman: allow uneven-step\n{line}\n", name="mine.crontab") == (0, [guessed])
    assert check(f"{line} # taskman: allow uneven-step\n", name="mine.crontab") == (
        0,
        [guessed, "uneven-step"],
    )


def test_notes_on_a_crontab_are_warnings_but_guesses_are_not(
    check: Callable[..., tuple[int, list[str]]],
) -> None:
    good, bad, mail, name = "1 1 * * * true\n", "61 * * * * true\n", "MAILTO=root\n", "mine.crontab"
    assert check(good, "--strict", name=name) == (0, ["crontab"])
    assert check(bad + good, "--strict", "--skip-bad", name=name) == (1, ["crontab"] * 2)
    assert check(mail + good, "--strict", name=name) == (1, ["crontab"] * 2)


def test_no_finding_shows_a_line_with_a_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("[jobs]\nx = '*/7 * * * * no-such-program --password=hunter2'\n")
    main(["check", "--state-dir", str(tmp_path / "state"), str(path)])
    shown = capsys.readouterr().err
    assert sorted(line.rpartition(" ")[2] for line in shown.splitlines()[:-1]) == [
        "[no-such-program]",
        "[secret-in-command]",
        "[uneven-step]",
    ]
    assert "hunter2" not in shown


def test_recorded_runs_that_take_too_long_are_reported(tmp_path: Path) -> None:
    path, state = tmp_path / "jobs.toml", str(tmp_path / "state")
    path.write_text("[jobs.x]\nevery = '100ms'\ncommand = 'sleep 0.25'\n")
    taskman = [sys.executable, "-m", "taskman_cli"]
    run = [*taskman, "run", "--no-live", "--for", "2s", "--state-dir", state, str(path)]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        [*taskman, "check", "--strict", "--state-dir", state, str(path)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "jobs.x.every: warning: runs take " in done.stderr
    assert "but slots are 100ms apart" in done.stderr
    assert done.returncode == 1


@needs_root
def test_root_refuses_files_that_others_can_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    path, link = directory / "jobs.toml", tmp_path / "link.toml"
    path.write_text("[jobs]\nx = '@daily true'\n")
    link.symlink_to(path)
    state = ["--state-dir", str(tmp_path / "state")]
    assert main(["check", *state, str(path)]) == 0
    path.chmod(0o666)
    assert main(["check", *state, str(path)]) == 2
    expected = f"{path}: anybody can write {path}, and so decide what root runs: chmod o-w {path}\n"
    assert expected in capsys.readouterr().err
    path.chmod(0o644)
    directory.chmod(0o777)
    for name in (path, link):
        assert main(["check", *state, str(name)]) == 2
        expected = (
            f"{name}: anybody can write {directory}, and so decide what root runs: chmod o-w {directory}\n"
        )
        assert capsys.readouterr().err == f"{expected}found 1 error in 1 file\n"
    assert main(["check", *state, "--trust", str(directory), str(path)]) == 0
    directory.chmod(0o1777)
    assert main(["check", *state, str(path)]) == 0


def test_other_users_accept_files_that_others_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("[jobs]\nx = '@daily true'\n")
    path.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["check", "--state-dir", str(tmp_path / "state"), str(path)]) == 0


@needs_root
def test_run_refuses_it_too(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text("[jobs]\nx = '@daily true'\n")
    path.chmod(0o666)
    run = ["run", "--for", "1s", "--state-dir", str(tmp_path / "state"), str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "taskman_cli", *run], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "anybody can write" in done.stderr) == (2, True)
