"""The environment that commands get."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.model import Account, Execution
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.environment import Environments
from taskman_cli.supervisor.envfile import EnvFileError, parse_env_file
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from people import Person

OURS = {"PATH": "/bin", "HOME": "/home/me", "SECRET": "x", "TASKMAN_SUPERVISOR_FD": "3", "PWD": "/elsewhere"}


@pytest.fixture
def environments() -> Environments:
    return Environments(OURS, cwd="/srv")


def test_everything_is_inherited_but_what_is_between_our_processes(environments: Environments) -> None:
    expected = {"PATH": "/bin", "HOME": "/home/me", "SECRET": "x", "PWD": "/srv"}
    assert environments.compose(Execution()) == expected


def test_the_jobs_own_variables_win(environments: Environments) -> None:
    composed = environments.compose(Execution(env={"HOME": "/x", "NEW": "1"}, cwd="/tmp"))
    assert (composed["HOME"], composed["NEW"], composed["PWD"]) == ("/x", "1", "/tmp")


def test_nothing_is_inherited_but_a_search_path_and_who_we_are(environments: Environments) -> None:
    composed = environments.compose(Execution(inherit_env=False))
    assert "SECRET" not in composed
    assert {"PATH", "HOME", "SHELL", "PWD"} <= set(composed)
    assert composed["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


ALICE = Account("alice", uid=70_001, home="/home/alice", directory="/home/alice")
LOGIN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/home/alice",
    "SHELL": "/bin/sh",
    "USER": "alice",
    "LOGNAME": "alice",
    "LANG": "C.UTF-8",
    "PWD": "/home/alice",
}


def test_another_user_has_the_environment_of_a_login_and_none_of_our_secrets() -> None:
    environments = Environments(OURS | {"LANG": "C.UTF-8"}, cwd="/srv")
    alices = Execution(user=ALICE, cwd="/home/alice")
    assert environments.compose(alices) == LOGIN
    assert environments.compose(replace(alices, env={"A": "1"})) == LOGIN | {"A": "1"}


def test_another_user_has_ours_where_the_job_file_says_so(environments: Environments) -> None:
    named = environments.compose(Execution(user=ALICE, cwd="/", inherit_env=("SECRET",)))
    inherited = environments.compose(Execution(user=ALICE, cwd="/", inherit_env=True))
    assert [(env["SECRET"], env["HOME"]) for env in (named, inherited)] == [("x", "/home/alice")] * 2


def test_who_runs_taskman_has_ours_though_he_is_named(environments: Environments) -> None:
    own = replace(ALICE, uid=os.getuid())
    assert environments.compose(Execution(user=own, cwd="/"))["SECRET"] == "x"


def test_root_s_path_has_the_system_s_programs() -> None:
    root = replace(ALICE, name="root", uid=0)
    environments = Environments(OURS, cwd="/srv")
    environments._uid = 70_002
    assert environments.compose(Execution(user=root, cwd="/"))["PATH"].startswith("/usr/local/sbin:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is protected from others")
@pytest.mark.parametrize("is_his", [False, True], ids=["root's", "mallory's"])
def test_root_s_jobs_take_no_env_file_that_others_can_change(
    is_his: bool, public_path: Path, mallory: Person
) -> None:
    owner = mallory.uid if is_his else 0
    file = public_path / "env"
    file.write_text("A=1")
    file.chmod(0o666 if owner == 0 else 0o644)
    os.chown(file, owner, owner)
    environments = Environments(OURS, cwd="/", trust=Trust())
    execution = Execution(env_file=(str(file),))
    with pytest.raises(TaskmanError, match="decide what root runs"):
        environments.files_for_the_command(execution)
    if owner:
        trusting = Environments(OURS, cwd="/", trust=Trust(uids=frozenset((owner,))))
        # It is his all the same: he may let whoever reads it wait.
        assert trusting.files_for_the_command(execution) == execution.env_file
    # A command of his own reads it with his own rights.
    assert environments.files_for_the_command(replace(execution, user=ALICE)) == execution.env_file


def test_what_nobody_else_can_change_is_read_by_us(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=1")
    environments = Environments(OURS, cwd="/", trust=Trust(is_checked=os.geteuid() == 0))
    assert environments.files_for_the_command(Execution(env_file=(str(tmp_path / "env"),))) == ()


def test_named_variables_can_be_inherited(environments: Environments) -> None:
    composed = environments.compose(Execution(inherit_env=("SECRET", "UNSET")))
    assert composed["SECRET"] == "x"
    assert "UNSET" not in composed


def test_what_is_done_to_one_environment_does_not_show_in_the_next(environments: Environments) -> None:
    execution = Execution()
    environments.compose(execution)["TASKMAN_JOB"] = "job"
    assert "TASKMAN_JOB" not in environments.compose(execution)


def test_env_files_are_lines_of_names_and_values() -> None:
    text = """
# a comment
; another
PLAIN=a b
 SPACED = value
export EXPORTED=1
QUOTED="  kept  "
SINGLE='$HOME'
EMPTY=
EQUALS=a=b
INSIDE=it's "so"
BACKSLASH=C:\\temp
CLOSED='C:\\'
DOUBLE="a\\tb"
SEPARATOR=a\u2028b\x0cc
WINDOWS=1\r
"""
    expected = {
        "PLAIN": "a b",
        "SPACED": "value",
        "EXPORTED": "1",
        "QUOTED": "  kept  ",
        "SINGLE": "$HOME",
        "EMPTY": "",
        "EQUALS": "a=b",
        "INSIDE": 'it\'s "so"',
        "BACKSLASH": "C:\\temp",
        "CLOSED": "C:\\",
        "DOUBLE": "a\\tb",
        "SEPARATOR": "a\u2028b\x0cc",
        "WINDOWS": "1",
    }
    assert parse_env_file(text, "f") == expected


@pytest.mark.parametrize("line", ["novalue", "=x", "1A=x", "A-B=x", "A=\0", "é=x"])
def test_a_bad_line_of_an_env_file_is_named(line: str) -> None:
    with pytest.raises(EnvFileError, match="env_file /x, line 2: not of the form NAME=value"):
        parse_env_file(f"A=1\n{line}\n", "/x")


@pytest.mark.parametrize(
    "value", ['"open', "'open", '"', '"a" b', '"a" # why', '"a" "b"', '"a \\" b"', "'a''b'", "'it\\'s'"]
)
def test_a_quote_that_others_would_read_otherwise_is_refused(value: str) -> None:
    with pytest.raises(
        EnvFileError, match=f"env_file /x, line 1: a value that begins with {value[0]} must end"
    ):
        parse_env_file(f"SECRET={value}\nNEXT='", "/x")


@pytest.mark.parametrize("value", ["a \\", "a\\\\", "\\"])
def test_a_line_that_would_go_on_in_the_next_is_refused(value: str) -> None:
    with pytest.raises(EnvFileError, match=r"env_file /x, line 1: a backslash at the end: .*quotes"):
        parse_env_file(f"A={value}\nB=1", "/x")


def test_what_a_bad_line_says_is_not_told_on() -> None:
    for line in ("s3cret", "A='s3cret", "A=s3cret\\"):
        with pytest.raises(EnvFileError) as caught:
            parse_env_file(line, "/x")
        assert "s3cret" not in str(caught.value)


def test_a_variable_that_is_a_secret_of_a_sink_is_kept_from_every_command() -> None:
    environ = {"PATH": "/bin", "HOOK": "hunter2", "OTHER": "a"}
    environments = Environments(environ, cwd="/", hidden={"HOOK", "NOT_SET"})
    plain, named = Execution(), Execution(inherit_env=("HOOK", "OTHER"))
    # What `once` hands over is the environment of a shell, which has it too.
    of_a_shell, own = Execution(env={"HOOK": "hunter2"}), Execution(env={"HOOK": "another"})
    for execution in (plain, named, of_a_shell):
        assert "HOOK" not in environments.compose(execution)
        assert environments.value(execution, "HOOK") is None
    assert environments.compose(named)["OTHER"] == "a"
    assert environments.compose(own)["HOOK"] == environments.value(own, "HOOK") == "another"
    environments.hide({"OTHER"})
    assert environments.compose(plain)["HOOK"] == "hunter2"
    assert "OTHER" not in environments.compose(plain)
