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
        {"jobs": [job("backup", tasks=["db", "home"], running=["67aw64ddpp"]), job("probe")]}
    ]
    yield scheduler
    scheduler.close()


def offered(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Return what bash is offered after these words, the last of which is not finished."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_TASKMAN_COMPLETE", "bash_complete")
        patch.setenv("COMP_WORDS", " ".join(["taskman", *words]))
        patch.setenv("COMP_CWORD", str(len(words)))
        main([])
    out, err = capsys.readouterr()
    assert err == ""
    return [line.removeprefix("plain,") for line in out.split()]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param(["show", ""], ["backup", "probe"], id="jobs"),
        pytest.param(["pause", "probe", "b"], ["backup"], id="further jobs"),
        pytest.param(["trigger", "b"], ["backup"], id="a job that has tasks"),
        pytest.param(["trigger", "backup."], ["backup.db", "backup.home"], id="tasks"),
        pytest.param(["cancel", "6"], ["67aw64ddpp"], id="runs"),
        pytest.param(["wait", ""], ["backup", "probe", "67aw64ddpp"], id="jobs and runs"),
        pytest.param(["log", "backup.h"], ["backup.home"], id="tasks that have output"),
        pytest.param(["history", "backup.d"], ["backup.db"], id="tasks with a past"),
        pytest.param(["why", "p"], ["probe"], id="jobs to ask about"),
        pytest.param(["explain", "p"], ["probe"], id="jobs to explain"),
        pytest.param(["events", "--job", ""], ["backup", "probe"], id="jobs of events"),
        pytest.param(["restore", "b"], ["backup"], id="jobs to restore"),
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
    assert complete_instances(click.Context(app), option, "w") == ["web", "work"]
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
        "import os, sys; os.environ |= {'_TASKMAN_COMPLETE': 'bash_complete', 'COMP_WORDS': 'taskman ', "
        "'COMP_CWORD': '1'}; from taskman_cli.__main__ import main; main([]); print(*sys.modules)"
    )
    out = subprocess.run(
        [shutil.which("python", path=str(TASKMAN.parent)) or "python", "-c", code],
        capture_output=True, check=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert list(COMMANDS) == [line.removeprefix("plain,") for line in out[:-1]]
    assert [name for name in out[-1].split() if name.startswith("taskman_cli.jobfile")] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_for_our_words(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_TASKMAN_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_a_shell_that_we_do_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert '"tcsh" is not one of' in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_the_name_of_a_job(scheduler: FakeScheduler) -> None:
    script = (
        'eval "$(taskman completion bash)"; COMP_WORDS=(taskman show ba); COMP_CWORD=2; '
        '_taskman_completion taskman; echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, check=True, text=True,
        env=os.environ | {"PATH": f"{TASKMAN.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("backup\n", "")
