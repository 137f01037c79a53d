"""`taskman why` without a time: the latest run of any kind, a run by its id, a task, its last lines."""

from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from integration.why_ledger import Ledger, ns

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Why = Callable[..., dict[str, Any]]
    Captured = pytest.CaptureFixture[str]

SINCE = "2026-11-01T00:00:00"
SLOT = "2026-11-24T02:30:00"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger with one daily job, at nine in the morning, UTC."""
    now = SimpleNamespace(time_ns=lambda: ns("2026-11-24T09:00:00"))
    monkeypatch.setattr("taskman_cli.cli.commands.why.time", now)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    with closing(Ledger(tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def backup(ledger: Ledger) -> int:
    return ledger.job("backup", since=SINCE, cron="30 2 * * *", timezone="UTC")


@pytest.fixture
def why(ledger: Ledger, capsys: Captured) -> Why:
    def run(*arguments: str) -> dict[str, Any]:
        assert main(["why", "--state-dir", str(ledger.directory), "--json", *arguments]) == 0
        document = json.loads(capsys.readouterr().out)
        assert isinstance(document, dict)
        return document

    return run


def output(ledger: Ledger, job: str, run: str, data: bytes, *, task: str = "main", number: int = 1) -> None:
    path = ledger.directory / "output" / job / f"{run}.{task}.{number}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def by_hand(ledger: Ledger, job: int, at: str, **values: Any) -> str:
    return ledger.run(job, None, queued=at, begun=at, ended=at, trigger="manual", **values)


def test_a_run_that_somebody_asked_for_is_the_latest(ledger: Ledger, backup: int, why: Why) -> None:
    ledger.finished(backup, SLOT)
    run = by_hand(ledger, backup, "2026-11-24T05:00:00")
    found = why("backup")
    assert (found["run"], found["trigger"], found["slot"]) == (run, "manual", None)
    assert found["next_slot"] == "2026-11-25T02:30:00+00:00"


def test_a_run_by_hand_is_explained_where_no_slot_has_come_yet(ledger: Ledger, why: Why) -> None:
    job = ledger.job("new", since="2026-11-24T08:00:00", cron="30 2 * * *", timezone="UTC")
    assert why("new")["outcome"] == "to_come"
    run = by_hand(ledger, job, "2026-11-24T08:30:00", state="failed")
    assert (why("new")["outcome"], why("new")["run"]) == ("ran", run)


def test_a_catch_up_of_an_older_slot_is_the_latest(ledger: Ledger, backup: int, why: Why) -> None:
    ledger.skip(backup, SLOT, "overlap", "run x is not over", at=SLOT)
    run = ledger.run(
        backup, "2026-11-23T02:30:00", queued="2026-11-24T08:00:00", begun="2026-11-24T08:00:00",
        ended="2026-11-24T08:01:00", trigger="catch_up",
    )  # fmt: skip
    assert why("backup")["run"] == run


def test_a_slot_that_was_skipped_after_the_latest_run_is_explained_with_that_run(
    ledger: Ledger, backup: int, why: Why
) -> None:
    run = by_hand(ledger, backup, "2026-11-23T05:00:00", state="failed")
    ledger.skip(backup, SLOT, "paused", "disk swap", at=SLOT)
    output(ledger, "backup", run, b"no room\n")
    at = "2026-11-23T05:00:00"
    ledger.attempt(run, state="failed", begun=at, started=at, output_bytes=8)
    found = why("backup")
    assert (found["outcome"], found["reason"]) == ("skipped", "paused")
    assert f"Its latest run: backup ran as run {run}, triggered on demand" in found["text"]
    assert found["output"]["lines"] == ["no room"]
    assert found["advice"][1]["command"].startswith("taskman resume --state-dir ")


def test_a_run_is_found_by_its_id_and_by_the_beginning_of_it(ledger: Ledger, backup: int, why: Why) -> None:
    old = ledger.finished(backup, "2026-11-20T02:30:00", exit_code=3)
    ledger.finished(backup, SLOT)
    for target in (old, old[:8]):
        found = why(target)
        assert (found["job"], found["run"], found["slot"]) == ("backup", old, "2026-11-20T02:30:00+00:00")
    assert "It failed (exit 3)" in found["text"]


def test_a_task_leads_to_the_latest_run_that_has_begun_it(ledger: Ledger, backup: int, why: Why) -> None:
    first = by_hand(ledger, backup, "2026-11-24T05:00:00", state="failed")
    ledger.attempt(first, task="db", state="failed", begun="2026-11-24T05:00:00", exit_code=1, output_bytes=3)
    ledger.attempt(first, task="web", begun="2026-11-24T05:00:01", exit_code=0, output_bytes=3)
    output(ledger, "backup", first, b"db!", task="db")
    output(ledger, "backup", first, b"web", task="web")
    by_hand(ledger, backup, "2026-11-24T06:00:00")
    for target in ("backup.db", f"{first}.db"):
        found = why(target)
        assert (found["run"], found["output"]["task"], found["output"]["lines"]) == (first, "db", ["db!"])
    # Of all tasks, the output of one that failed comes first.
    assert why(first)["output"]["task"] == "db"
    assert why("backup.web")["output"]["lines"] == ["web"]


def test_of_a_run_that_failed_only_what_failed_is_shown(ledger: Ledger, backup: int, why: Why) -> None:
    run = by_hand(ledger, backup, "2026-11-24T05:00:00", state="failed")
    ledger.attempt(run, task="db", begun="2026-11-24T05:00:00", exit_code=0, output_bytes=5)
    ledger.attempt(run, task="web", state="failed", begun="2026-11-24T05:00:01", exit_code=3)
    output(ledger, "backup", run, b"fine\n", task="db")
    output(ledger, "backup", run, b"", task="web")
    assert why("backup")["output"] is None
    assert why("backup.db")["output"]["lines"] == ["fine"]


def test_the_answer_ends_with_the_last_lines_and_with_what_to_do(
    ledger: Ledger, backup: int, capsys: Captured
) -> None:
    run = ledger.finished(backup, SLOT, exit_code=1)
    ledger.connection.execute("UPDATE attempts SET output_bytes = 9")
    output(ledger, "backup", run, b"".join(b"line %d\n" % n for n in range(50)) + b"\x1b[31mred\xff\ttab\n")
    assert main(["why", "--state-dir", str(ledger.directory), "backup"]) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("The last lines of its output:")
    assert lines[begin + 1 : begin + 3] == ["  | line 41", "  | line 42"]
    assert lines[begin + 10] == r"  | \x1b[31mred\xff       tab"
    given = f"--state-dir {ledger.directory}"
    assert lines[begin + 11 : begin + 15] == [
        "", "What to do:", f"  taskman run {given} FILE", "      starts a scheduler: none runs now",
    ]  # fmt: skip
    assert lines[begin + 15 : begin + 17] == [f"  taskman log {given} {run}", "      prints the whole output"]


def test_an_output_that_is_not_kept_or_is_no_file_breaks_nothing(
    ledger: Ledger, backup: int, why: Why
) -> None:
    run = ledger.finished(backup, SLOT, exit_code=1)
    ledger.connection.execute("UPDATE attempts SET output_bytes = 9")
    assert why("backup")["output"] is None
    (ledger.directory / "output" / "backup" / f"{run}.main.1.log").mkdir(parents=True)
    assert why("backup")["output"] is None


def test_the_series_that_a_failed_run_ends_is_told(ledger: Ledger, backup: int, why: Why) -> None:
    ledger.event(SLOT, "finished", failures=12, since_ns=ns("2026-11-12T02:30:05"))
    ledger.finished(backup, SLOT, exit_code=1)
    ledger.connection.execute("UPDATE runs SET ended_seq = 1")
    found = why("backup")
    assert "That made 12 failed runs in a row, since Thu 2026-11-12 02:30:05." in found["text"]
    assert found["evidence"]["run"]["failures"] == 12


def test_a_series_that_nobody_can_read_is_left_out(ledger: Ledger, backup: int, why: Why) -> None:
    ledger.event(SLOT, "finished", failures=12)
    ledger.finished(backup, SLOT, exit_code=1)
    ledger.connection.execute("UPDATE runs SET ended_seq = 1")
    assert "in a row" not in why("backup")["text"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bakcup"], 4, 'the ledger has no run and no job "bakcup" (did you mean "backup"?)'),
        (["backup.dbb"], 4, "no run of backup has started a task"),
        (["{run}.dbb"], 4, "of backup has started no task"),
        (["{run}", "--at", "02:30"], 2, "give --at with a job, not with a run"),
        (["zzzzzzzzzz"], 4, "the ledger has no run and no job"),
        (["."], 4, "the ledger has no run and no job"),
    ],
)
def test_what_is_not_there_is_refused(
    arguments: list[str], code: int, words: str, ledger: Ledger, backup: int, capsys: Captured
) -> None:
    run = ledger.finished(backup, SLOT)
    given = [argument.format(run=run) for argument in arguments]
    assert main(["why", "--state-dir", str(ledger.directory), *given]) == code
    out, err = capsys.readouterr()
    assert (out, words in err) == ("", True)
