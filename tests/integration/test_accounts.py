"""Whom commands can run as, on the machine at hand, and the keys `user` and `group` of a job file."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from taskman_cli.core.model import Account, Group, Job
from taskman_cli.jobfile import JobFileError, loads
from taskman_cli.jobfile.definition import definition
from taskman_cli.launch.accounts import Accounts, NoAccount, find_account, own_account

GAMES = pwd.getpwnam("games")
GROUP = next(group for group in grp.getgrall() if group.gr_gid not in (GAMES.pw_gid, os.getegid()))


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture
def as_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: GAMES.pw_uid)
    monkeypatch.setattr("os.getegid", lambda: GAMES.pw_gid)


def job(lines: str) -> Job:
    (found,) = loads(f"[jobs.a]\nevery = '1h'\ncommand = 'x'\n{lines}").jobs
    return found


def error(lines: str) -> str:
    with pytest.raises(JobFileError) as caught:
        job(lines)
    (problem,) = caught.value.problems
    return f"{problem.line}:{problem.column}: {problem.key}: {problem.message}"


def test_a_user_is_found_with_all_its_groups() -> None:
    groups = os.getgrouplist("games", GAMES.pw_gid)
    found = find_account("games")
    assert found == Account("games", GAMES.pw_uid, GAMES.pw_gid, tuple(groups), GAMES.pw_dir, GAMES.pw_dir)
    nobody = find_account("nobody")
    assert nobody is not None
    assert (nobody.home, nobody.directory) == ("/nonexistent", "/")


@pytest.mark.parametrize("name", ["no-such-user", "a\0b", "\udce4", "\N{SNOWMAN}", ""], ids=ascii)
def test_a_name_without_an_account_is_not_a_user(name: str) -> None:
    assert find_account(name) is None


def test_a_number_without_a_name_is_not_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1_234_567)
    assert own_account() is None


@pytest.mark.usefixtures("as_root")
def test_a_command_of_another_user_starts_in_the_home_directory_by_default() -> None:
    (task,) = job("user = 'games'").tasks
    assert task.execution.user == find_account("games")
    assert task.execution.cwd == GAMES.pw_dir
    assert job("user = 'games'\ncwd = '/srv'").tasks[0].execution.cwd == "/srv"


@pytest.mark.usefixtures("as_root")
def test_a_task_may_name_another_user_than_its_job() -> None:
    (found,) = loads(
        "[defaults]\nuser = 'nobody'\n[jobs.a]\nevery = '1h'\n[jobs.a.tasks]\n"
        "one = 'x'\ntwo = { command = 'x', user = 'games' }"
    ).jobs
    users = [(task.execution.user.name, task.execution.cwd) for task in found.tasks if task.execution.user]
    assert users == [("nobody", "/"), ("games", GAMES.pw_dir)]


@pytest.mark.usefixtures("as_root")
def test_user_and_group_are_shown_as_written() -> None:
    shown = definition(job(f"user = 'games'\ngroup = '{GROUP.gr_name}'"))
    assert (shown["user"], shown["group"], shown["cwd"]) == ("games", GROUP.gr_name, GAMES.pw_dir)
    shown = definition(job(""))
    assert (shown["user"], shown["group"]) == (None, None)


@pytest.mark.usefixtures("as_root")
def test_unknown_users_and_groups_are_errors_with_their_place() -> None:
    assert error("user = 'no-such-user'") == "4:8: jobs.a.user: there is no user no-such-user on this machine"
    assert error("group = 'no-such'") == "4:9: jobs.a.group: there is no group no-such on this machine"
    assert error("user = 5") == "4:8: jobs.a.user: expected a string, got a number: put it in quotes"


@pytest.mark.usefixtures("as_games")
def test_only_root_can_name_others() -> None:
    assert job("user = 'games'").tasks[0].execution.user == find_account("games")
    assert error("user = 'nobody'") == (
        "4:8: jobs.a.user: only root can run commands as another user: run taskman as root, or as nobody"
    )
    assert error("user = 'root'").endswith("as another user: run taskman as root")
    name = grp.getgrgid(GAMES.pw_gid).gr_name
    assert job(f"group = '{name}'").tasks[0].execution.group == Group(name, GAMES.pw_gid)
    assert error(f"group = '{GROUP.gr_name}'") == (
        "4:9: jobs.a.group: only root can run commands with another group: run taskman as root"
    )


def test_jobs_that_run_elsewhere_may_name_any_user() -> None:
    accounts = Accounts(is_run_here=False)
    assert accounts.user("no-such-user") == Account("no-such-user")
    assert accounts.group("no-such") == Group("no-such")
    assert accounts.user("games") == find_account("games")
    with pytest.raises(NoAccount, match="no user no-such-user"):
        Accounts().user("no-such-user")
