"""`taskman import` of several files and directories, and what `check --strict` says of the result."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from command_line import run

if TYPE_CHECKING:
    from pathlib import Path

#: A Monday.
START = "2027-02-01T00:00:00"


def imported(path: Path, *options: str) -> tuple[dict[str, Any], str, str]:
    """Import, and return the tables, the text and what was said."""
    code, out, err = run("import", *options, str(path))
    assert code == 0, err
    return tomllib.loads(out), out, err


def strict(tmp_path: Path, text: str) -> list[str]:
    """Return the warnings and errors that `check --strict` has about a job file."""
    path = tmp_path / "made.toml"
    path.write_text(text)
    code, out, _ = run("check", "--strict", "--json", str(path))
    found = json.loads(out)
    told = [one["message"] for one in found["errors"]] + [
        one["name"] for one in found["warnings"] if one["severity"] == "warning"
    ]
    assert code == (2 if found["errors"] else int(bool(told)))
    return told


def slots(*arguments: str, count: int = 60) -> list[str]:
    """Return the next slots of all jobs of some files, without the names of the jobs."""
    code, out, err = run("next", *arguments, "--from", START, "-n", str(count), "--json")
    assert code == 0, err
    return [slot["slot"] for slot in json.loads(out)["slots"]]


#: Each line provokes a warning when it stands in a job file.
ODD = {
    "every minute of an hour": "* 2 * * * true\n",
    "a step that is not even": "*/7 * * * * true\n",
    "days of month and of week": "0 0 1 * 1 true\n",
    "a secret": "0 1 * * * true --password=a1b2c3\n",
    "a curly quote": "0 3 * * * true \u201cx\u201d\n",
    "bash in sh": "0 0 * * * [[ x ]] && source x; cat <(true) &> /dev/null\n",
    "a variable in a variable": "PATH=$PATH:/usr/bin:/bin\n0 0 * * * true\n",
    "TZ": "TZ=Asia/Tokyo\n0 0 * * * true\n",
    "a home that does not exist": "HOME=/no/such/home\n0 0 * * * true\n",
    "no timeout": "0 0 * * * true\n1 0 * * * true\n",
    "all at the same time": "".join(f"0 0 * * * true {number}\n" for number in range(7)),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_import_writes_passes_check_strict_and_runs_at_the_same_times(tmp_path: Path, text: str) -> None:
    tab = tmp_path / "tab"
    tab.write_text(text)
    _, out, _ = imported(tab, "--user")
    assert strict(tmp_path, out) == []
    assert slots(str(tmp_path / "made.toml")) == slots(str(tab))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0 0 1 * 1 true\n", "either-day"),
        ("0 1 * * * true --password=a1b2c3\n", "secret-in-command"),
        ("*/7 * * * * true\n", "uneven-step"),
    ],
)
def test_what_is_odd_is_said_at_the_import_and_stands_in_the_file(
    tmp_path: Path, text: str, name: str
) -> None:
    tab = tmp_path / "tab"
    tab.write_text(f"# a line\n\n{text}")
    _, out, err = imported(tab, "--user")
    assert f"# taskman: allow {name}\n" in out
    (line,) = [line for line in err.splitlines() if line.endswith(f"[{name}]")]
    assert line.startswith(f"{tab}:3:1: warning: ")


def test_a_timeout_that_is_said_to_be_none_is_no_oversight(tmp_path: Path) -> None:
    job = '[jobs.a]\ncron = "@daily"\ncommand = "true"\noverlap = "allow"\n'
    assert strict(tmp_path, job) == ["overlap-no-timeout"]
    assert strict(tmp_path, job + 'timeout = "none"\n') == []
    assert strict(tmp_path, '[defaults]\ntimeout = "none"\n' + job) == []


def test_a_home_that_does_not_exist_leaves_the_jobs_in_the_root_directory(tmp_path: Path) -> None:
    tab = tmp_path / "tab"
    tab.write_text(f"HOME=/no/such/home\n0 0 * * * pwd\nHOME={tmp_path}\n0 0 * * * ls\n")
    tables, out, err = imported(tab, "--user")
    assert [job["cwd"] for job in tables["jobs"].values()] == ["/", str(tmp_path)]
    assert tables["jobs"]["pwd"]["env"]["HOME"] == "/no/such/home"
    message = 'HOME: there is no directory "/no/such/home" here: as under cron, commands start in /'
    assert f"{tab}:1:1: warning: {message} [no-such-cwd]\n" in err
    assert f"# Line 1: {message}.\n" in out
    assert strict(tmp_path, out) == []
    code, _, err = run("test", "pwd", str(tmp_path / "made.toml"))
    assert code == 0
    assert "directory  / (yours" in err


def test_several_files_become_one_job_file_and_share_what_they_can(tmp_path: Path) -> None:
    for name, text in {"a": "0 1 * * * root sweep\n", "b": "X=1\n0 2 * * * root sweep\n"}.items():
        (tmp_path / name).write_text(text)
    code, out, err = run("import", "--system", str(tmp_path / "a"), str(tmp_path / "b"))
    assert (code, err) == (0, "")
    assert tomllib.loads(out) == {
        "defaults": {
            "inherit_env": False,
            "overlap": "allow",
            "timeout": "none",
            "on_missed": "skip",
            "user": "root",
            "env": {"PATH": "/usr/bin:/bin"},
        },
        "jobs": {
            "sweep": {"cron": "0 1 * * *", "command": "sweep"},
            "sweep-0200": {"cron": "0 2 * * *", "command": "sweep", "env": {"X": "1"}},
        },
    }
    assert f"# --- {tmp_path / 'b'}\n[jobs.sweep-0200]" in out
    assert out.count("# As under cron") == 1


def test_guesses_about_several_files_name_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("0 1 * * * sweep\n")
    code, _, err = run("import", str(tmp_path / "a"), str(tmp_path / "b"))
    assert code == 0
    assert [line.split(": ")[1] for line in err.splitlines()] == [str(tmp_path / name) for name in ("a", "b")]


def test_a_directory_like_cron_d_is_read_as_cron_reads_it(tmp_path: Path) -> None:
    directory = tmp_path / "cron.d"
    directory.mkdir()
    (directory / "php").write_text("9 * * * * root sessionclean\n")
    (directory / "old.dpkg-bak").write_text("9 * * * * root old\n")
    (directory / ".placeholder").write_text("")
    tables, _, err = imported(directory)
    assert list(tables["jobs"]) == ["php-sessionclean"]
    assert "old.dpkg-bak: warning: passed over" in err


def test_every_file_with_a_fault_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("61 * * * * x\n0 1 * * * y\n")
    code, out, err = run("import", "--user", str(tmp_path / "a"), str(tmp_path / "b"))
    assert (code, out) == (2, "")
    assert [line.split(": ")[0] for line in err.splitlines() if line.startswith(str(tmp_path))] == [
        f"{tmp_path / name}:1:1" for name in ("a", "b")
    ]


def test_a_warning_about_one_program_is_one_line(tmp_path: Path) -> None:
    jobs = "".join(f'j{number} = "{number} 0 * * * no-such-program-here {number}"\n' for number in range(9))
    path = tmp_path / "jobs.toml"
    path.write_text(f"[jobs]\n{jobs}")
    code, _, err = run("check", "--strict", str(path))
    assert code == 1
    (line,) = [line for line in err.splitlines() if "no-such-program-here" in line and "warning" in line]
    assert (
        '"no-such-program-here" is not on the PATH of the job (also lines 3, 4, 5, 6, 7 and 3 more)' in line
    )
    code, out, _ = run("check", "--json", str(path))
    assert len([one for one in json.loads(out)["warnings"] if one["name"] == "no-such-program"]) == 9
