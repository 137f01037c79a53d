"""`taskman check` on real files: jobs on standard output, problems on standard error, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from taskman_cli.__main__ import main
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = """
[taskman]
timezone = "Asia/Tokyo"
[jobs]
tidy = "@daily true"
boot = "@reboot true"
[jobs.backup]
cron = "30 2 * * *"
timezone = "America/New_York"
command = "true"
[jobs.probe]
every = "15s"
command = ["true"]
[jobs.over]
at = 2001-01-01T00:00:00Z
command = "true"
[jobs.off]
every = "1m"
enabled = false
command = "true"
"""

BAD = """\
[jobs.backup]
cron     = "61 2 * * *"
command  = "true"
overlap  = "skp"

[jobs.fine]
every = "1m"
command = "true"
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "jobs.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def test_a_good_file_gives_one_line_a_job_with_its_next_slot(
    job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(job_file(GOOD))]) == 0
    out, err = capsys.readouterr()
    assert [line.rpartition("[")[2] for line in err.splitlines()[:-1:3]] == [
        "clock-change]",
        "dead-schedule]",
    ]
    assert err.splitlines()[-1] == "found 1 warning in 1 file"
    heading, *rows = out.splitlines()
    assert heading == "times in Asia/Tokyo"
    lines = {line.split()[0]: line for line in rows}
    assert list(lines) == ["tidy", "boot", "backup", "probe", "over", "off"]
    assert "00:00:00+09:00  in " in lines["tidy"]
    assert lines["boot"].split(maxsplit=2)[1:] == ["@reboot", "at start"]
    assert ":30:00+09:00" in lines["backup"]
    assert lines["probe"].endswith("+09:00  in 15s")
    assert lines["over"].endswith("  never")
    assert lines["off"].endswith("  disabled")
    # Aligned: the schedules stand under each other.
    assert {
        line.index(text) for line, text in zip(lines.values(), ["@daily", "@reboot", "30 2"], strict=False)
    } == {8}


def test_a_bad_file_gives_every_problem_with_its_place_and_exits_2(
    job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(BAD)
    assert main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.split(f"{path}:")[1:]
    assert first.splitlines()[0].startswith("2:13: jobs.backup.cron: ")
    assert second == (
        '4:12: jobs.backup.overlap: "skp" is not one of skip, queue, allow, replace (did you mean "skip"?)\n'
        '    4 | overlap  = "skp"\n'
        "      |            ^^^^^\n"
        "found 2 errors in 1 file\n"
    )


def test_json_of_a_bad_file_has_the_same_problems(
    job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(BAD)
    assert main(["check", "--json", str(path)]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document.keys() == {"errors", "jobs", "warnings"}
    assert document["jobs"] == 1
    assert document["errors"][1] == {
        "file": str(path),
        "line": 4,
        "column": 12,
        "key": "jobs.backup.overlap",
        "message": '"skp" is not one of skip, queue, allow, replace (did you mean "skip"?)',
    }
    assert [error["key"] for error in document["errors"]] == ["jobs.backup.cron", "jobs.backup.overlap"]


def test_json_of_a_good_file_counts_the_jobs(
    job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--json", str(job_file(GOOD))]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [warning.pop("name") for warning in document["warnings"]] == ["clock-change", "dead-schedule"]
    assert (document["errors"], document["jobs"]) == ([], 6)


def test_files_are_checked_together(
    job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = job_file(GOOD, "one.toml"), job_file('[jobs]\nprobe = "@daily true"\n', "two.toml")
    assert main(["check", str(two)]) == 0
    assert main(["check", str(one), str(two)]) == 2
    assert f"{two}:2:1: jobs.probe: already defined in {one}" in capsys.readouterr().err


def test_a_file_without_jobs_is_reported_and_is_not_an_error(
    job_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(job_file("# nothing yet\n"))
    assert main(["check", path]) == 0
    assert capsys.readouterr() == ("", "taskman: no errors, and no jobs\n")
    assert main(["check", "--json", path]) == 0
    assert capsys.readouterr() == ('{"errors": [], "jobs": 0, "warnings": []}\n', "")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[jobs.x\n", id="no TOML"),
        pytest.param(b"\xff\xfe\x00", id="no UTF-8"),
        pytest.param(b"\x00\x01\x02", id="control characters"),
        pytest.param(b"[jobs.x]\ncommand = 'true'\nevery = \x1b[2J\n", id="an escape sequence"),
        pytest.param(b"jobs = 3\n", id="jobs is no table"),
        pytest.param(b"a = [" + b"[" * 5000 + b"\n", id="nested without end"),
        pytest.param(b"[jobs.x]\ncommand = 'true'\nevery = " + b"9" * 5000 + b"\n", id="an endless number"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_no_content_gives_a_traceback(
    content: bytes, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert main(["check", *flags, str(path)]) == 2
    out, err = capsys.readouterr()
    said = json.loads(out)["errors"][0]["file"] if flags else err
    assert said.startswith(str(path))
    assert "\x1b" not in out + err


@pytest.mark.parametrize("command", ["check", "next"])
def test_an_empty_file_name_is_not_the_current_directory(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "jobs.toml", ""]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "FILE" in err.splitlines()[0]
    assert err.splitlines()[0].endswith(": the file name is empty")


def test_a_file_that_may_not_be_read_is_a_problem_like_any_other(
    job_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(GOOD)

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    # Root may read all files, so the refusals have to be made.
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(Trust, "open", refuse)
    assert main(["check", str(path)]) == 2
    assert capsys.readouterr() == (
        "",
        f"{path}: cannot be read: permission denied\nfound 1 error in 1 file\n",
    )
    assert main(["check", "--json", str(path)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert [error["message"] for error in document["errors"]] == ["cannot be read: permission denied"]


@pytest.mark.parametrize("name", ["missing.toml", "missing\udcff.toml", "x" * 300, "dir/missing.toml"])
def test_a_file_that_is_not_there_is_a_problem_like_any_other(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith(str(tmp_path))


def test_a_directory_stands_for_its_toml_files(
    job_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job_file(GOOD)
    job_file("no toml", "notes.txt")
    assert main(["check", "--json", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [warning.pop("name") for warning in document["warnings"]] == ["clock-change", "dead-schedule"]
    assert (document["errors"], document["jobs"]) == ([], 6)
