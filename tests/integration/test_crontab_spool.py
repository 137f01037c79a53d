"""Crontabs in the directory in which cron keeps those of users: each runs as the user it is named for."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pwd
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from taskman_cli.__main__ import main
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.crontab.spool import SpoolFile, is_spool
from taskman_cli.launch.accounts import Accounts
from taskman_cli.trust import Trust

ME = pwd.getpwuid(os.geteuid())
GAMES = pwd.getpwnam("games")
LINE = "0 5 * * * sweep\n"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool" / "cron" / "crontabs"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def mine(spool: Path) -> Path:
    path = spool / ME.pw_name
    path.write_text(LINE)
    return path


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    # An ordinary user's directories are no root's: whose they are is for test_trust.py.
    module = sys.modules["taskman_cli.jobfile.load"]
    monkeypatch.setattr(module, "standing_trust", lambda _: Trust(is_checked=False))


def users(*paths: Path, **options: bool) -> list[tuple[str, tuple[str, ...]]]:
    return [(job.id, job.users) for job in load([*paths], **options).jobs]


def error(*paths: Path, **options: bool) -> str:
    with pytest.raises(JobFileError) as caught:
        load([*paths], **options)
    return str(caught.value)


def owned_by(monkeypatch: pytest.MonkeyPatch, uid: int, mode: int = 0o100600) -> None:
    """Let opened files be somebody's; only root can give one away."""
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        fields = list(real(fd))
        if stat.S_ISREG(fields[0]):
            fields[0], fields[4] = mode, uid
        return os.stat_result(fields)

    monkeypatch.setattr("taskman_cli.jobfile.crontab.spool.os.fstat", fstat)


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    "place",
    [
        "var/spool/cron/crontabs", "var/spool/cron", "var/spool/cron/tabs", "etc/crontabs", "var/cron/tabs",
        "backup/of/spool/cron/crontabs",
    ],
)  # fmt: skip
def test_every_directory_of_user_crontabs_is_known(tmp_path: Path, place: str) -> None:
    assert is_spool(tmp_path / place)


@pytest.mark.parametrize("place", ["home/joe/crontabs", "etc/cron.d", "spool", "cron", "tabs"])
def test_a_directory_elsewhere_is_not_a_spool(tmp_path: Path, place: str) -> None:
    assert not is_spool(tmp_path / place)


def test_a_crontab_runs_as_the_user_it_is_named_after(spool: Path, mine: Path) -> None:
    [job] = load([mine]).jobs
    execution = job.tasks[0].execution
    assert job.users == (ME.pw_name,)
    assert execution.user is not None
    assert (execution.user.uid, execution.cwd) == (ME.pw_uid, execution.user.directory)
    assert users(spool) == users(mine) == [(f"{ME.pw_name}-sweep", (ME.pw_name,))]


def test_the_option_for_users_crontabs_changes_nothing_about_it(mine: Path) -> None:
    [job] = load([], user_crontabs=[mine]).jobs
    assert job.users == (ME.pw_name,)


def test_what_includes_it_changes_nothing_about_it(tmp_path: Path, mine: Path) -> None:
    jobs = tmp_path / "jobs.toml"
    jobs.write_text(f'[taskman]\ninclude = ["{mine.parent}"]\n[defaults]\nnice = 3\n')
    assert users(jobs) == [(f"{ME.pw_name}-sweep", (ME.pw_name,))]


def test_the_whole_directory_of_all_users_is_read(spool: Path, as_root: None) -> None:
    for name in ("games", "nobody", "daemon"):
        (spool / name).write_text(LINE)
    owner = (spool / "games").stat().st_uid
    if owner != 0:
        assert f"owned by {ME.pw_name}" in error(spool)
        assert users(spool, is_run_here=False) == [
            (f"{name}-sweep", (name,)) for name in ("daemon", "games", "nobody")
        ]
        return
    assert users(spool) == [(f"{name}-sweep", (name,)) for name in ("daemon", "games", "nobody")]


def test_the_directory_above_leads_to_them(spool: Path, mine: Path) -> None:
    assert users(spool.parent) == users(mine)


def test_links_to_the_directory_or_into_it_change_nothing(tmp_path: Path, spool: Path, mine: Path) -> None:
    (tmp_path / "directory").symlink_to(spool)
    (tmp_path / "file").symlink_to(mine)
    for path in (tmp_path / "directory", tmp_path / "directory" / mine.name, tmp_path / "file"):
        assert users(path) == users(mine)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "crontabs").symlink_to(spool)
    assert users(tmp_path / "etc" / "crontabs") == users(mine)
    assert users(spool / ".." / "crontabs" / mine.name) == users(mine)


def test_a_link_in_the_directory_is_not_followed(tmp_path: Path, spool: Path) -> None:
    (tmp_path / "elsewhere").write_text(LINE)
    link = spool / ME.pw_name
    link.symlink_to(tmp_path / "elsewhere")
    for path in (link, spool):
        assert error(path) == (
            f"{link}: a symbolic link, which cron does not follow here: replace it with the file itself"
        )


def test_a_pipe_in_the_directory_is_not_waited_for(spool: Path) -> None:
    os.mkfifo(spool / ME.pw_name)
    assert error(spool).endswith("cannot be read: not a regular file")


def test_a_file_of_another_user_is_rejected(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = GAMES if GAMES.pw_uid != ME.pw_uid else pwd.getpwnam("daemon")
    owned_by(monkeypatch, other.pw_uid)
    assert error(mine).startswith(
        f"{mine}: owned by {other.pw_name}, and its lines would run as {ME.pw_name}"
    )
    owned_by(monkeypatch, 1_234_567)
    assert "owned by uid 1234567" in error(mine)
    owned_by(monkeypatch, 0)
    assert users(mine) == [(f"{ME.pw_name}-sweep", (ME.pw_name,))]


def test_a_file_that_others_can_write_is_refused(mine: Path) -> None:
    for mode in (0o620, 0o602):
        mine.chmod(mode)
        assert error(mine).startswith(f"{mine}: writable by others, and its lines would run as {ME.pw_name}")


def test_a_file_named_after_no_user_is_rejected_and_ignored_in_a_directory(spool: Path, mine: Path) -> None:
    stray = spool / "no-such-user"
    stray.write_text(LINE)
    assert error(stray) == (
        f'{stray}: its lines run as "no-such-user", the user it is named after: '
        "there is no user no-such-user on this machine"
    )
    (spool / "jobs.toml").write_text('[jobs]\na = "@daily true"\n')
    (spool / ".hidden").write_text(LINE)
    job_file = load([spool])
    assert [job.users for job in job_file.jobs] == [(ME.pw_name,)]
    assert [note.message for note in job_file.notes] == [
        f"ignored: a crontab in this directory is named after its user, and there is no user {name}"
        for name in ("jobs.toml", "no-such-user")
    ]


def test_an_ordinary_user_runs_his_own_and_no_other(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: GAMES.pw_uid)
    for name in ("games", "daemon"):
        (spool / name).write_text(LINE)
    owned_by(monkeypatch, GAMES.pw_uid)
    assert users(spool / "games") == [("games-sweep", ("games",))]
    assert "only root can run commands as another user: run taskman as root, or as daemon" in error(spool)


def test_with_skip_bad_a_rejected_file_is_noted_and_the_others_run(spool: Path, mine: Path) -> None:
    link = spool / ("games" if ME.pw_name != "games" else "daemon")
    link.symlink_to("/etc/passwd")
    job_file = load([spool], skip_bad=True)
    assert [job.users for job in job_file.jobs] == [(ME.pw_name,)]
    [note] = job_file.notes
    assert (note.file, note.message[:27]) == (str(link), "left out: a symbolic link, ")


def test_what_one_user_adds_gives_no_job_of_another_a_new_name(spool: Path) -> None:
    (spool / "joe").write_text(LINE)
    before = users(spool, is_run_here=False)
    (spool / "anna").write_text(LINE * 2)
    assert before == [("joe-sweep", ("joe",))] == users(spool, is_run_here=False)[2:]


def test_invalid_file_names_are_reported(tmp_path: Path) -> None:
    spooled = SpoolFile.at(tmp_path / "spool" / "cron" / "a\0b")
    assert spooled is not None
    with pytest.raises(JobFileError, match="cannot be read"):
        spooled.read(Accounts(), Trust(is_checked=False))


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    assert error(tmp_path / "spool" / "cron" / "joe").endswith(
        "joe: cannot be read: no such file or directory"
    )


def test_the_commands_that_read_it_show_the_user(spool: Path) -> None:
    tab = spool / "games"
    tab.write_text(LINE)
    code, out, _ = run("next", str(tab), "-n", "1")
    assert (code, out.split()[-3:]) == (0, ["games-sweep", "as", "games"])
    code, out, _ = run("explain", "games-sweep", str(tab))
    assert (code, "user: It runs as games." in out) == (0, True)
    code, out, _ = run("import", str(tab))
    assert (code, tomllib.loads(out)["defaults"]["user"]) == (0, "games")
    code, out, _ = run("import", "--json", str(tab))
    assert (code, json.loads(out)[0]["user"]) == (0, "games")
    mine = spool / ME.pw_name
    mine.write_text(LINE)
    code, out, _ = run("check", str(mine))
    assert (code, out.split()[-2:]) == (0, ["as", ME.pw_name])
