"""`taskman unit`: what it prints for which files, what it refuses; and the examples that it has printed.

What systemd makes of it, tests/e2e/test_systemd.py finds out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import pytest
from command_line import run

from taskman_cli.cli.support.systemd_unit import INSTANCE, INSTANCE_FILE, UnitFor, command_line, unit_text

if TYPE_CHECKING:
    from people import Person

EXAMPLES = Path(__file__).parents[2] / "examples" / "systemd"
SECOND_NS = 1_000_000_000
JOBS = "[jobs.j]\nevery = '1h'\ncommand = 'true'\n"
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is protected from others")


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


def invoke(*arguments: str) -> Done:
    return Done(*run(*arguments))


def values(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.M)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.toml"
    path.write_text(JOBS)
    return path


# --- examples ---


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("taskman.service", {"arguments": ("/etc/taskman/jobs.toml",), "needs": ("/etc/taskman/jobs.toml",)}),
        ("taskman@.service", {"arguments": (INSTANCE_FILE,), "name": INSTANCE}),
        (
            "user/taskman.service",
            {"arguments": ("/home/ann/jobs.toml",), "is_user": True, "needs": ("/home/ann/jobs.toml",)},
        ),
    ],
)
def test_the_examples_are_what_it_prints_for_an_installation_in_opt(
    name: str, unit: dict[str, object]
) -> None:
    wanted = UnitFor(program=("/opt/taskman/bin/taskman",), **unit)  # type: ignore[arg-type]
    assert (EXAMPLES / name).read_text("utf-8") == unit_text(wanted)


# --- what is printed ---


def test_the_unit_runs_the_file_with_this_installation(file: Path) -> None:
    called = subprocess.run(
        [Path(sys.executable).with_name("taskman"), "unit", "--user", file.name],
        cwd=file.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = values(called.stdout, "ExecStart")
    assert line == f"{Path(sys.executable).with_name('taskman')} run {file}"
    assert values(called.stdout, "Type") == ["notify"]
    module = subprocess.run(
        [sys.executable, "-m", "taskman_cli", "unit", "--user", str(file)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = values(module.stdout, "ExecStart")
    assert line == f"{sys.executable} -P -m taskman_cli run {file}"


def test_the_options_of_run_become_a_part_of_it(tmp_path: Path, file: Path) -> None:
    crontab = tmp_path / "tab"
    crontab.write_text("0 0 * * * true\nnonsense\n")
    done = invoke(
        "unit",
        "--user",
        "--name",
        "web",
        "--user-crontab",
        str(crontab),
        "--skip-bad",
        "--dialect",
        "cronie",
        str(file),
    )
    assert done.exit_code == 0
    (line,) = values(done.stdout, "ExecStart")
    assert shlex.split(line.partition("taskman_cli ")[2]) == [
        "run", "-i", "web", "--user-crontab", str(crontab), "--dialect", "cronie", "--skip-bad", str(file),
    ]  # fmt: skip
    (line,) = values(done.stdout, "ExecReload")
    assert shlex.split(line.partition("taskman_cli ")[2]) == ["reload", "-i", "web"]
    assert values(done.stdout, "RuntimeDirectory") == ["taskman-web"]
    assert done.stdout.splitlines()[0] == "# ~/.config/systemd/user/taskman-web.service"


def test_the_state_of_a_user_is_where_it_is_in_a_shell(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert values(invoke("unit", "--user", str(file)).stdout, "Environment") == []
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/50% off")
    assert values(invoke("unit", "--user", str(file)).stdout, "Environment") == [
        '"XDG_STATE_HOME=/srv/50%% off"'
    ]


@pytest.mark.parametrize(
    ("hang_after_ns", "seconds"),
    [(None, "300s"), (SECOND_NS, "300s"), (60 * SECOND_NS, "300s"), (7200 * SECOND_NS, "36000s")],
)
def test_the_watchdog_waits_longer_than_it_takes_to_replace_a_scheduler(
    hang_after_ns: int | None, seconds: str
) -> None:
    unit = UnitFor(("/taskman",), ("/jobs.toml",), hang_after_ns=hang_after_ns)
    assert values(unit_text(unit), "WatchdogSec") == [seconds]


def test_hang_after_is_that_of_the_file(file: Path) -> None:
    file.write_text(f'[taskman]\nhang_after = "10m"\n{JOBS}')
    assert values(invoke("unit", "--user", str(file)).stdout, "WatchdogSec") == ["3000s"]


@pytest.mark.parametrize(
    ("sink", "is_left_out"), [("", True), ('host = "mail.example.org"\n', False)], ids=["sendmail", "smtp"]
)
def test_mail_by_sendmail_needs_the_rights_of_a_group(file: Path, sink: str, is_left_out: bool) -> None:
    file.write_text(
        f'[sinks.me]\ntype = "mail"\nto = ["ann@example.org"]\nfrom = "t@example.org"\n{sink}{JOBS}'
    )
    text = invoke("unit", "--user", str(file)).stdout
    assert values(text, "#?NoNewPrivileges") == ["yes"]
    assert (values(text, "#NoNewPrivileges") == ["yes"]) is is_left_out
    # systemd lets users have the others only together with it.
    assert (values(text, "RestrictNamespaces") == []) is is_left_out
    system = unit_text(UnitFor(("/taskman",), ("/jobs.toml",), sends_mail=is_left_out))
    assert (values(system, "NoNewPrivileges") == []) is is_left_out
    assert values(system, "RestrictNamespaces") == ["yes"]


def test_mails_of_crontabs_are_sent_in_the_same_way(file: Path, tmp_path: Path) -> None:
    file.write_text(f"[taskman]\ncrontab_mail = true\n{JOBS}")
    (tmp_path / "tab").write_text("0 0 * * * true\n")
    text = invoke("unit", "--user", "--user-crontab", str(tmp_path / "tab"), str(file)).stdout
    assert values(text, "#NoNewPrivileges") == ["yes"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/bin/x", "plain-1.2_3"], "/bin/x plain-1.2_3"),
        (["/bin/x", ""], '/bin/x ""'),
        (["/bin/x", "a b", "it's", ";"], '/bin/x "a b" "it\'s" ";"'),
        (["/bin/x", "50%", "$HOME", "${X}"], '/bin/x 50%% "$$HOME" "$${X}"'),
        (["/bin/x", 'say "no"', "back\\slash"], '/bin/x "say \\"no\\"" "back\\\\slash"'),
        (["/bin/x", "new\nline\x1b", "grün"], '/bin/x "new\\x0aline\\x1b" "grün"'),
        (["/my programs/$x/y", "z"], '"/my programs/$x/y" z'),
        (["/it's/x", "y"], '/usr/bin/env "/it\'s/x" y'),
        (["/bin/x", INSTANCE, INSTANCE_FILE], "/bin/x %i %E/taskman/%i.toml"),
    ],
    ids=["plain", "empty", "blanks", "signs", "quotes", "control", "program", "quoted program", "template"],
)  # fmt: skip
def test_words_are_written_as_systemd_reads_them(words: list[str], line: str) -> None:
    assert command_line(words) == line


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--template", "jobs.toml"], "leave out FILE"),
        (["--template", "--tmpfiles"], "leave out FILE"),
        (["--tmpfiles", "--name", "x"], "leave out FILE"),
        (["--name", "../x", "jobs.toml"], "up to 64 letters"),
        (["--user", "nowhere.toml"], "nowhere.toml"),
        (["--user", "/dev/null"], "neither a file nor a directory"),
        (["--user", "\udcff.toml"], "\\xff.toml is not UTF-8"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_and_nothing_is_printed(options: list[str], words: str) -> None:
    done = invoke("unit", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_file_with_errors_is_told_as_by_check(file: Path) -> None:
    file.write_text("[jobs.j]\nevery = '1h'\n")
    done = invoke("unit", "--user", str(file))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == invoke("check", str(file)).stderr


def test_what_is_gone_after_a_boot_is_warned_of() -> None:
    with TemporaryDirectory(dir="/tmp") as path:
        file = Path(path, "jobs.toml")
        file.write_text(JOBS)
        assert f"{file} may be gone after the next boot" in invoke("unit", "--user", str(file)).stderr


@is_root
def test_what_root_would_not_run_is_refused(
    public_path: Path, mallory: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = public_path / "jobs.toml"
    path.write_text(JOBS)
    mallory.owns(path)
    # Who calls sudo is not there at the next boot.
    monkeypatch.setenv("SUDO_UID", str(mallory.uid))
    done = invoke("unit", str(path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"belongs to {mallory}" in done.stderr
    trusted = invoke("unit", "--trust", str(mallory.uid), str(path))
    (line,) = values(trusted.stdout, "ExecStart")
    assert line.endswith(f"run --trust {mallory.uid} {path}")
    assert invoke("unit", "--user", str(path)).exit_code == 0


@is_root
def test_an_installation_that_others_can_change_is_refused(
    public_path: Path, mallory: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = public_path / "taskman"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    mallory.owns(program)
    monkeypatch.setattr(sys, "argv", [str(program)])
    done = invoke("unit", "--template")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"root would run this installation of taskman, and {program} belongs to {mallory}" in done.stderr
    assert invoke("unit", "--template", "--user").exit_code == 0
