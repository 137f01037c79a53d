"""Crontabs as job files: which files are ones, what jobs come of them, what is told of them."""

from __future__ import annotations

import os
import pwd
from errno import EACCES
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.model import OnMissed, Overlap
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.source import Form, form_of, guess
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ME = pwd.getpwuid(os.geteuid())
GAMES = pwd.getpwnam("games")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return path

    return write


def errors(path: Path, **options: bool) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        load([path], **options)
    return [str(problem).splitlines()[0].removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_line_runs_as_it_does_under_cron(write: Callable[[str, str], Path]) -> None:
    path = write("mine", "X=1\n# nightly\n30 2 * * * backup a\\%b%in\n")
    job_file = load([], user_crontabs=[path])
    (job,) = job_file.jobs
    (task,) = job.tasks
    assert (job.id, job.schedule.text, job.description) == ("backup", "30 2 * * *", "nightly")
    assert (job.policy.overlap, job.policy.on_missed) == (Overlap.ALLOW, OnMissed.SKIP)
    assert (task.command, task.execution.stdin) == ("backup a%b", "in\n")
    assert (task.execution.inherit_env, task.execution.cwd) == (False, ME.pw_dir)
    assert task.execution.env == {"X": "1", "PATH": "/usr/bin:/bin"}
    assert [note.name for note in job_file.notes] == ["bare-percent"]


def test_the_variables_that_mean_something_to_cron_mean_the_same(write: Callable[[str, str], Path]) -> None:
    text = (
        "SHELL=/bin/bash\nHOME=/srv\nPATH=/opt\nLOGNAME=nobody\nMAILTO=joe\nCRON_TZ=Asia/Tokyo\n0 1 * * * x\n"
    )
    job_file = load([], user_crontabs=[write("mine", text)])
    execution = job_file.jobs[0].tasks[0].execution
    assert (execution.shell, execution.cwd) == ("/bin/bash", "/srv")
    assert {name: execution.env.get(name) for name in ("SHELL", "HOME", "PATH", "LOGNAME", "MAILTO")} == {
        "SHELL": "/bin/bash", "HOME": "/srv", "PATH": "/opt", "LOGNAME": None, "MAILTO": "joe",
    }  # fmt: skip
    assert job_file.jobs[0].schedule.timezone == "Asia/Tokyo"  # type: ignore[union-attr]
    assert [note.message.split(":")[0] for note in job_file.notes] == ["LOGNAME", "MAILTO", "CRON_TZ"]


def test_a_system_crontab_has_the_jobs_of_the_current_user(write: Callable[[str, str], Path]) -> None:
    job_file = load([write("etc/crontab", f"0 1 * * * {ME.pw_name} x\n")])
    assert [job.id for job in job_file.jobs] == ["x"]


def test_a_line_that_cannot_run_as_its_user_is_an_error_at_the_user(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: GAMES.pw_uid)
    path = write("etc/crontab", "0 1 * * * daemon x\n0 2 * * * no-such-user y\n0 3 * * * games z\n")
    assert errors(path) == [
        "1:11: only root can run commands as another user: run taskman as root, or as daemon",
        "2:11: there is no user no-such-user on this machine",
    ]
    job_file = load([path], skip_bad=True)
    assert [job.id for job in job_file.jobs] == ["z"]
    assert [note.line for note in job_file.notes] == [1, 2]


def test_root_runs_the_lines_of_every_user_each_in_his_home(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    text = (
        "0 1 * * * games x\n0 2 * * * nobody y\nHOME=/srv\n0 3 * * * games z\nHOME=/none\n0 4 * * * games w\n"
    )
    jobs = load([write("etc/crontab", text)], trust=Trust(is_checked=False)).jobs
    found = [(task.execution.user, task.execution.cwd) for job in jobs for task in job.tasks]
    assert [user.name for user, _ in found if user] == ["games", "nobody", "games", "games"]
    # Debian's cron goes on in its own directory where the home is not there.
    assert [cwd for _, cwd in found] == [GAMES.pw_dir, "/", "/srv", "/"]


def test_every_bad_line_is_reported_and_no_job_is_loaded(write: Callable[[str, str], Path]) -> None:
    path = write("etc/crontab", f"0 1 * * * {ME.pw_name} x\n61 * * * * root a\nfoo\n")
    assert errors(path) == [
        '2:1: minute "61": not in 0-59',
        '3:1: minute "foo": not a number, nor a range or *',
    ]
    assert [job.id for job in load([path], skip_bad=True).jobs] == ["x"]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("SHELL=bash", 'SHELL: "bash" is not an absolute path'),
        ("CRON_TZ=Europe/Stokholm", 'did you mean "Europe/Stockholm"?'),
    ],
)
def test_an_unusable_assignment_is_an_error(write: Callable[[str, str], Path], line: str, part: str) -> None:
    with pytest.raises(JobFileError) as caught:
        load([], user_crontabs=[write("mine", f"{line}\n0 1 * * * x\n")])
    assert part in str(caught.value)


def test_a_wrong_assignment_is_reported_once_and_at_its_own_line(
    write: Callable[[str, str], Path],
) -> None:
    text = (
        "0 1 * * * w\n  SHELL=sh\nCRON_TZ=Nope/X\n0 1 * * * x\n0 1 * * * y\nSHELL=/bin/sh\nHOME=a\nHOME=b\n"
        '0 1 * * * z\nCRON_TZ=""\nHOME=c\n'
    )
    path = write("mine", text)
    with pytest.raises(JobFileError) as caught:
        load([], user_crontabs=[path])
    assert [(one.line, one.column, one.message.partition(":")[0]) for one in caught.value.problems] == [
        (2, 3, "SHELL"),
        (3, 1, "CRON_TZ"),
    ]
    assert [one.message.rpartition("; ")[2] for one in caught.value.problems] == [
        "2 entries below use it",
        "3 entries below use it",
    ]
    job_file = load([], user_crontabs=[path], skip_bad=True)
    assert [job.id for job in job_file.jobs] == ["w"]
    assert [note.line for note in job_file.notes if note.message.startswith("left out: ")] == [2, 3]


def test_a_home_that_is_no_full_path_is_told_and_commands_start_in_the_root(
    write: Callable[[str, str], Path],
) -> None:
    job_file = load([], user_crontabs=[write("mine", "HOME=var/x\n0 1 * * * x\n")])
    assert [task.execution.cwd for job in job_file.jobs for task in job.tasks] == ["/"]
    assert [(note.line, note.message) for note in job_file.notes] == [
        (1, 'HOME: "var/x" is not an absolute path: as under cron, commands start in /')
    ]


def test_a_user_that_is_a_program_leads_to_user_crontabs(write: Callable[[str, str], Path]) -> None:
    path = write("etc/crontab", "0 1 * * * sh x\n0 2 * * * /bin/true y\n")
    assert errors(path) == [
        "1:11: there is no user sh on this machine, but such a program: is it a user's crontab?"
        " use --user-crontab",
        '2:11: "/bin/true" is not a valid user: lines of a system crontab name a user before the command'
        " (is it a user's crontab? use --user-crontab; import: --user)",
    ]


def test_a_line_that_runs_nothing_is_left_out_and_noted(write: Callable[[str, str], Path]) -> None:
    job_file = load([], user_crontabs=[write("mine", "0 0 31 2 * x\n@daily\n@daily y\n")])
    assert [job.id for job in job_file.jobs] == ["y"]
    assert [(note.line, note.message) for note in job_file.notes] == [
        (1, '"0 0 31 2 *" never matches: this line never runs'),
        (2, "the command is missing: this line runs nothing"),
    ]


def test_lines_that_end_in_cr_lf_are_taken_without_the_cr(write: Callable[[str, str], Path]) -> None:
    job_file = load([], user_crontabs=[write("mine", "A=1\r\n\r\n0 1 * * * x\r\n0 2 * * * cat%in\r\n")])
    assert [(task.command, task.execution.stdin) for job in job_file.jobs for task in job.tasks] == [
        ("x", None),
        ("cat", "in\n"),
    ]
    assert "CR LF" in job_file.notes[0].message


def test_bytes_that_are_not_utf_8_are_passed_on(write: Callable[[str, str], Path]) -> None:
    job_file = load([], user_crontabs=[write("mine", "# \udce4\n0 1 * * * echo \udce4\n")])
    command = job_file.jobs[0].tasks[0].command
    assert isinstance(command, str)
    assert os.fsencode(command) == b"echo \xe4"


def test_a_directory_of_crontabs_is_read_by_the_names_that_debian_accepts(
    write: Callable[[str, str], Path],
) -> None:
    for name in ("b", "a-1", "c.bak", ".placeholder", "d~"):
        path = write(f"cron.d/{name}", f"@daily {ME.pw_name} sweep\n")
    job_file = load([path.parent])
    assert [job.id for job in job_file.jobs] == ["a-1-sweep", "b-sweep"]
    assert sorted(note.file.rpartition("/")[2] for note in job_file.notes) == ["c.bak", "d~"]


def test_under_another_name_files_that_look_like_crontabs_are_noted_too(
    write: Callable[[str, str], Path],
) -> None:
    for name, text in (("my.cron", "@daily root sweep\n"), ("notes.txt", "not a crontab\n")):
        path = write(f"tabs/{name}", text)
    job_file = load([path.parent], is_run_here=False)
    assert job_file.jobs == ()
    assert [note.file.rpartition("/")[2] for note in job_file.notes] == ["my.cron"]


def test_a_byte_order_mark_is_noted(write: Callable[[str, str], Path]) -> None:
    job_file = load([], user_crontabs=[write("mine", "\ufeff0 1 * * * x\n")])
    assert [job.id for job in job_file.jobs] == ["x"]
    assert "byte order mark" in job_file.notes[0].message


def test_mailto_is_noted_where_it_first_requests_mail(write: Callable[[str, str], Path]) -> None:
    text = 'MAILTO=""\nMAILTO=a\n0 1 * * * x\nMAILTO=b\n0 2 * * * y\nMAILTO=""\n'
    [note] = load([], user_crontabs=[write("mine", text)]).notes
    assert (note.line, "a, b get none" in note.message) == (2, True)


def test_a_directory_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path, __: None) -> None:
        raise PermissionError(EACCES, "Permission denied")

    # Root may read any directory.
    monkeypatch.setattr("taskman_cli.jobfile.files.crontabs_in", refuse)
    with pytest.raises(JobFileError) as caught:
        load([tmp_path])
    assert str(caught.value) == f"{tmp_path}: cannot be read: permission denied"


def test_a_directory_with_job_files_has_no_crontabs(write: Callable[[str, str], Path]) -> None:
    write("dir/mine", "@daily root x\n")
    path = write("dir/jobs.toml", '[jobs]\na = "@daily true"\n')
    assert [job.id for job in load([path.parent]).jobs] == ["a"]


def test_another_directory_has_those_files_that_look_like_system_crontabs(
    write: Callable[[str, str], Path],
) -> None:
    write("tabs/LICENSE", "Permission is hereby granted\n")
    path = write("tabs/mine", "@daily root x\n61 * * * * root y\n")
    assert [line.partition(" ")[0] for line in errors(path.parent, is_run_here=False)] == [f"{path}:2:1:"]


def test_names_stay_apart_from_those_of_other_files(write: Callable[[str, str], Path]) -> None:
    jobs = write("jobs.toml", '[jobs]\nx = "@daily true"\n')
    mine = write("mine", "0 1 * * * x\n0 2 * * * /bin/x\n")
    assert [job.id for job in load([jobs], user_crontabs=[mine]).jobs] == ["x", "x-0100", "x-0200"]


def test_a_file_that_is_not_toml_is_guessed_and_noted(write: Callable[[str, str], Path]) -> None:
    job_file = load([write("mine", "0 1 * * * x\n")])
    assert [job.id for job in job_file.jobs] == ["x"]
    assert job_file.notes[0].message.startswith("read as a user crontab")


def test_a_file_named_toml_is_a_job_file_whatever_is_in_it(write: Callable[[str, str], Path]) -> None:
    (error,) = errors(write("jobs.toml", "0 1 * * * x\n"))
    assert "= is missing" in error


def test_a_job_file_under_another_name_is_a_job_file_still(write: Callable[[str, str], Path]) -> None:
    assert [job.id for job in load([write("jobs.conf", '[jobs]\na = "@daily true"\n')]).jobs] == ["a"]
    (error,) = errors(write("bad.conf", '[jobs]\na = "@daily true\n'))
    assert "the string must end on the same line" in error


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("/etc/crontab", Form.SYSTEM),
        ("/etc/cron.d/php", Form.SYSTEM),
        ("/var/spool/cron/crontabs/joe", Form.USER),
        ("/var/spool/cron/joe", Form.USER),
        ("/home/joe/crontab", None),
        ("/etc/cron.d/jobs.toml", None),
    ],
)
def test_the_path_of_a_file_shows_its_kind(tmp_path: Path, name: str, form: Form | None) -> None:
    assert form_of(tmp_path / name[1:], Dialect.DEBIAN) == form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("0 1 * * * root x\n", Form.SYSTEM),
        ("0 1 * * * echo hi\n", Form.USER),
        ("0 1 * * * /bin/x\n", Form.USER),
        ("0 1 * * * x\nA=1\n", Form.USER),
        ("0 1 * * * root x\n1 1 * * * root y\n2 1 * * * nobody\n", Form.SYSTEM),
        ("0 1 * * * root\n1 1 * * * x\n", Form.USER),
        ("A=1\n", None),
        ("not a crontab\n", None),
        ("", None),
    ],
)
def test_the_kind_of_a_text_is_guessed_from_its_looks(text: str, form: Form | None) -> None:
    assert guess(text, Dialect.DEBIAN) == form
