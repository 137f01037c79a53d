"""`taskman completion`, and what a shell is offered: from the scheduler, else from the ledger."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest
from integration.fake_scheduler import FakeScheduler, job
from integration.following import TASKMAN
from integration.ledger_builder import LedgerBuilder

from taskman_cli.__main__ import main
from taskman_cli.cli.app import COMMANDS, app
from taskman_cli.cli.options.completions import complete_instances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[FakeScheduler]:
    scheduler = FakeScheduler(tmp_path / "state")
    scheduler.answers["list"] = [
        {
            "jobs": [
                job("backup", tasks=["db", "home"], running=["67aw64ddpp"], tags=["db", "a b"]),
                job("probe", tags=["db"], description="is it there?"),
                job("vacuum", pause={"reason": "disk swap", "until_ns": None}),
                job("flaky", park={"since_ns": 0}),
            ]
        }
    ]
    yield scheduler
    scheduler.close()


def offered(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Return what is offered after these words, the last of which is not finished."""
    return [line.partition("\t")[0] for line in lines(capsys, "fish", *words)[1:]]


def lines(capsys: pytest.CaptureFixture[str], shell: str, *words: str) -> list[str]:
    """Return the lines that the script of a shell gets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_TASKMAN_COMPLETE", shell)
        main(list(words))
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def in_bash(
    capsys: pytest.CaptureFixture[str], line: str, *, listing: str = "9", columns: str = "60"
) -> list[str]:
    """Return the lines that the script of bash gets for a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_TASKMAN_LINE", line)
        patch.setenv("_TASKMAN_BREAKS", " \t\n\"'><=;|&(:")
        patch.setenv("_TASKMAN_TYPE", listing)
        patch.setenv("COLUMNS", columns)
        return lines(capsys, "bash")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param(["show", ""], ["backup", "probe", "vacuum", "flaky"], id="jobs"),
        pytest.param(["pause", "probe", "b"], ["backup"], id="further jobs"),
        pytest.param(["trigger", "b"], ["backup"], id="a job that has tasks"),
        pytest.param(["trigger", "backup."], ["backup.db", "backup.home"], id="tasks"),
        pytest.param(["cancel", "6"], ["67aw64ddpp"], id="runs"),
        pytest.param(["wait", ""], ["backup", "probe", "vacuum", "flaky", "67aw64ddpp"], id="jobs and runs"),
        pytest.param(["log", "backup.h"], ["backup.home"], id="tasks that have output"),
        pytest.param(["history", "backup.d"], ["backup.db"], id="tasks with a past"),
        pytest.param(["why", "p"], ["probe"], id="jobs to ask about"),
        pytest.param(["explain", "p"], ["probe"], id="jobs to explain"),
        pytest.param(["events", "--job", ""], ["backup", "probe", "vacuum", "flaky"], id="jobs of events"),
        pytest.param(["pause", ""], ["backup", "probe", "flaky"], id="jobs that are not paused"),
        pytest.param(["pause", "backup", ""], ["probe", "flaky"], id="no job twice"),
        pytest.param(["resume", ""], ["vacuum", "flaky"], id="paused and parked jobs"),
        pytest.param(["list", "--tag", ""], ["db", "a b"], id="tags"),
        pytest.param(["list", "--tag=d"], ["--tag=db"], id="a tag after ="),
        pytest.param(["list", "--state", "o"], ["over"], id="states of jobs"),
        pytest.param(["history", "--state", "s"], ["succeeded", "skipped"], id="states of runs"),
        pytest.param(["cancel", "--signal", "KI"], ["KILL"], id="signals"),
        pytest.param(["next", "--timezone", "Europe/Stock"], ["Europe/Stockholm"], id="zones"),
        pytest.param(["add", "--timezone", "Asia/Kol"], ["Asia/Kolkata"], id="zones of add"),
        pytest.param(["ls", "--sta"], ["--state", "--state-dir"], id="after a short name"),
        pytest.param(["help", "rem"], ["remove"], id="commands to help with"),
        pytest.param(["remove", "backup."], ["backup.db", "backup.home"], id="tasks to remove"),
        pytest.param(["restor"], ["restore"], id="commands"),
        pytest.param(["stop", "--n"], ["--now", "--no-wait"], id="options"),
        pytest.param(["show", "zzz"], [], id="nothing"),
        pytest.param(["frobnicate", "x"], [], id="no such command"),
    ],
)
def test_names_come_from_the_scheduler(
    words: list[str], names: list[str], scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names == offered(capsys, *words)


def test_without_a_scheduler_names_come_from_the_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup")
    builder.attempt(run, task="db")
    builder.close()
    assert offered(capsys, "cancel", "") == ["backup", run]
    assert offered(capsys, "trigger", "backup.") == ["backup.db"]


def test_names_come_from_the_instance_that_was_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = FakeScheduler(tmp_path / "state" / "instances" / "web")
    try:
        assert offered(capsys, "show", "-i", "web", "") == ["backup", "probe"]
        assert offered(capsys, "show", "") == ["backup", "probe"]
    finally:
        instance.close()


def test_instances_are_offered_whether_they_run_or_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("web", "work", "db"):
        (tmp_path / "state" / "instances" / name).mkdir(parents=True)
    option = click.Option(["-i"])
    found = complete_instances(click.Context(app), option, "w")
    assert [item.value for item in found] == ["web", "work"]
    assert offered(capsys, "status", "-i", "d") == ["db"]
    assert offered(capsys, "history", "--instance", "w") == ["web", "work"]


def test_without_scheduler_and_ledger_nothing_is_offered_or_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert offered(capsys, "show", "") == []
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").write_text("no ledger")
    assert offered(capsys, "show", "") == []


def test_a_scheduler_that_does_not_answer_is_not_waited_for(
    scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    del scheduler.answers["list"]
    scheduler.answers["list"] = lambda _request: []
    assert offered(capsys, "show", "") == []


def test_commands_are_offered_without_loading_them() -> None:
    code = (
        "import os, sys; os.environ |= {'_TASKMAN_COMPLETE': 'fish'}; "
        "from taskman_cli.__main__ import main; main(['']); print(*sys.modules)"
    )
    out = subprocess.run(
        [shutil.which("python", path=str(TASKMAN.parent)) or "python", "-c", code],
        capture_output=True, check=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert list(COMMANDS) == [line.partition("\t")[0] for line in out[1:-1]]
    assert [name for name in out[-1].split() if name.startswith("taskman_cli.jobfile")] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_for_our_words(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_TASKMAN_COMPLETE={shell} " in capsys.readouterr().out


def test_a_shell_that_we_do_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert '"tcsh" is not one of' in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_the_name_of_a_job(scheduler: FakeScheduler) -> None:
    script = (
        'eval "$(taskman completion bash)"; COMP_LINE="taskman show ba"; COMP_POINT=15; '
        '_taskman_completion taskman; echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, check=True, text=True,
        env=os.environ | {"PATH": f"{TASKMAN.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("backup\n", "")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        pytest.param(["run", ""], "file", id="job files"),
        pytest.param(["check", "--user-crontab", "x"], "file", id="crontabs"),
        pytest.param(["explain", "backup", ""], "file", id="files behind a job"),
        pytest.param(["backup", "--force", "a"], "file", id="a copy"),
        pytest.param(["run", "--trust", "/"], "file", id="trusted files"),
        pytest.param(["once", "./s"], "file", id="a command"),
        pytest.param(["once", "--", "make", "-f", ""], "file", id="words of a command"),
        pytest.param(["once", "--cwd", ""], "dir", id="a directory"),
        pytest.param(["status", "--state-dir=/v"], "dir", id="a state directory"),
    ],
)
def test_files_and_directories_are_left_to_the_shell(
    words: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(capsys, "fish", *words) == [kind]
    assert lines(capsys, "zsh", *words) == [kind]


def test_every_name_comes_with_a_description(
    scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(capsys, "fish", "show", "") == [
        "plain",
        "backup\tevery 15s",
        "probe\tis it there? (every 15s)",
        "vacuum\tpaused: disk swap",
        "flaky\tparked, since it failed too often",
    ]
    assert lines(capsys, "fish", "cancel", "6") == ["plain", "67aw64ddpp\tbackup, running"]
    assert lines(capsys, "fish", "list", "--tag", "d") == ["plain", "db\t2 jobs"]
    assert lines(capsys, "zsh", "pause", "p") == ["plain", "probe\tprobe  -- is it there? (every 15s)"]
    assert lines(capsys, "fish", "completion", "b") == ["plain", "bash\t"]


def test_bash_sees_descriptions_only_where_it_lists(
    scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [
        "plain", "backup  -- every 15s", "probe   -- is it there? (every 15s)",
        "vacuum  -- paused: disk swap",
        "flaky   -- parked, since it failed too often",
    ]  # fmt: skip
    for listing in ("9", "63"):
        shown = in_bash(capsys, "taskman show ", listing=listing)
        assert [line.rstrip() for line in shown] == listed
        # bash puts what is at most half as wide as the terminal beside each other.
        assert min(map(len, shown[1:])) > 30
    assert in_bash(capsys, "taskman show ", listing="37") == ["plain", "backup", "probe", "vacuum", "flaky"]
    assert in_bash(capsys, "taskman show p") == ["plain", "probe"]
    assert in_bash(capsys, "taskman show ", columns="23")[2] == "probe   -- is it ther…"
    assert in_bash(capsys, "taskman show ", columns="12") == ["plain", "backup", "probe", "vacuum", "flaky"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        pytest.param("taskman list --tag a", r"a\ b", id="a blank"),
        pytest.param("taskman list --tag 'a", "a b", id="in open quotes"),
        pytest.param('taskman list --tag "a ', "a b", id="in open double quotes"),
        pytest.param(r"taskman list --tag a\ ", r"a\ b", id="behind an escaped blank"),
        pytest.param("taskman list --tag x:", "y", id="behind a colon"),
        pytest.param("taskman list --tag=x", "x:y", id="behind ="),
        pytest.param("taskman list --tag i", r"it\'s", id="a quote"),
        pytest.param('taskman list --tag "i', "it's", id="a quote in double quotes"),
        pytest.param("taskman list --tag $", "", id="nothing"),
        pytest.param("FOO=bar", "", id="no command"),
    ],
)
def test_bash_gets_what_it_has_to_insert(
    line: str, offered: str, scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = ["a b", "x:y", "it's", "tab\tulator", "line\nfeed", "caf\udce9", "esc\x1b[2J"]
    scheduler.answers["list"] = [{"jobs": [job("backup", tags=tags)]}]
    assert in_bash(capsys, line)[1:] == [offered] * bool(offered)


def test_a_name_that_cannot_be_typed_is_not_offered_and_a_description_is_one_line(
    scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = job("backup", tags=["plain", "tab\tulator", "esc\x1b[2J"], description="two\nlines\t\x1b[31m")
    scheduler.answers["list"] = [{"jobs": [odd]}]
    assert offered(capsys, "list", "--tag", "") == ["plain"]
    assert lines(capsys, "fish", "show", "") == ["plain", "backup\ttwo lines \\x1b[31m (every 15s)"]


def test_fields_of_a_list_are_offered_one_after_the_other(
    scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(capsys, "list", "--fields", "st") == ["state", "stopped"]
    assert offered(capsys, "list", "--fields", "state,job,st") == ["state,job,stopped"]
    assert offered(capsys, "list", "--after", "ba") == ["backup"]


def test_what_was_removed_is_offered_to_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    for name in ("backup", "checks", "probe"):
        builder.job(name)
    builder.connection.execute("UPDATE job_state SET hidden = 'true' WHERE name = 'backup'")
    builder.connection.execute("UPDATE job_state SET hidden = '[\"disk\"]' WHERE name = 'checks'")
    builder.close()
    assert lines(capsys, "fish", "restore", "") == [
        "plain", "backup\tremoved", "checks\ttasks removed: disk"
    ]  # fmt: skip


def test_log_offers_runs_that_have_ended(
    tmp_path: Path, scheduler: FakeScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = LedgerBuilder(tmp_path / "state")
    run = builder.run("backup", "failed")
    builder.close()
    assert {run, "67aw64ddpp"} <= set(offered(capsys, "log", "6"))
    assert lines(capsys, "fish", "log", run)[1].startswith(f"{run}\tbackup, failed, ")


def test_instances_say_whether_they_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state" / "instances" / "dead").mkdir(parents=True)
    instance = FakeScheduler(tmp_path / "state" / "instances" / "web")
    try:
        assert lines(capsys, "fish", "status", "-i", "") == ["plain", "dead\tnot running", "web\trunning"]
    finally:
        instance.close()


def test_an_unknown_shell_gets_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TASKMAN_COMPLETE", "bash_complete")
    assert main(["show", ""]) == 1
    assert capsys.readouterr() == ("", "")
