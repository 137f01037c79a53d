"""`taskman status JOB` and `next`: one job as a whole, and the retries that a scheduler waits for."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from integration.fake_scheduler import NOW_NS, SECOND_NS, STATUS, FakeScheduler, job, refusal
from integration.ledger_builder import LedgerBuilder

from taskman_cli.__main__ import main
from taskman_cli.core.protocol import Show, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

FAILING = {
    "job": "backup", "run": "67aw64ddpp", "task": "db", "state": "failed", "detail": "exit 3", "failures": 12,
    "since_ns": NOW_NS - 7_200 * SECOND_NS, "ended_ns": NOW_NS - 60 * SECOND_NS, "is_more": False,
}  # fmt: skip
RETRY = {
    "run": "67aw64ddpp", "job": "flaky", "task": "main", "attempt": 3, "retry": 2, "most": 3,
    "due_ns": NOW_NS + 40 * SECOND_NS,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    for name in ("TASKMAN_INSTANCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[FakeScheduler]:
    scheduler = FakeScheduler(tmp_path / "state")
    yield scheduler
    scheduler.close()


def shown(**values: Any) -> dict[str, Any]:
    """Return the reply to `Show`."""
    return {
        "job": job("backup", **values),
        "definition": {},
        "source": "/etc/jobs.toml",
        "timezone": "UTC",
        "next_ns": [NOW_NS + 10 * SECOND_NS, NOW_NS + 25 * SECOND_NS],
    }


def test_a_job_is_shown_with_its_runs_and_the_end_of_its_output(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    ledger = LedgerBuilder(scheduler.directory)
    run = ledger.run("backup", "failed", at=-60)
    ledger.attempt(run, "failed", task="db", at=-60, took=2, output_bytes=9)
    ledger.attempt(run, task="web", at=-59, took=1, output_bytes=9)
    ledger.output_path("backup", run, task="db").write_bytes(b"one\ntwo\n")
    ledger.output_path("backup", run, task="web").write_bytes(b"fine\n")
    ledger.close()
    pause = {"since_ns": NOW_NS, "until_ns": None, "reason": "disk swap", "by": "root"}
    scheduler.answers["show"] = [
        shown(failing=FAILING, retrying=[RETRY], pause=pause, queued=1, description="all of it")
    ]
    assert main(["status", "backup"]) == 0
    assert Show(job="backup") == scheduler.request
    assert capsys.readouterr().out.splitlines() == [
        "job       backup: all of it",
        "state     waiting, 1 queued",
        "failing   ×12 db: exit 3, since 24 Nov 02:00:00 (2h ago)",
        "retry     2 of 3 in 40s",
        "paused    by root, disk swap",
        "schedule  every 15s",
        "next      24 Nov 04:00:10  in 10s",
        "          24 Nov 04:00:25  in 25s",
        "file      /etc/jobs.toml",
        "times     in the machine's zone",
        "",
        "LATEST           TASK  STATE      TOOK  RUN",
        f"24 Nov 03:59:01  web   succeeded    1s  {run}",
        f"24 Nov 03:59:00  db    failed       2s  {run}  exit 3",
        "",
        "The last lines of the output of db:",
        "  | one",
        "  | two",
        "",
        "  taskman why backup",
        f"  taskman log {run}",
        "  taskman trigger backup",
    ]


def test_what_to_type_next_names_the_instance_that_was_asked_for(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["show"] = [shown()]
    where = f"--state-dir {scheduler.directory}"
    assert main(["status", *where.split(), "backup"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"  taskman why {where} backup",
        f"  taskman trigger {where} backup",
    ]


def test_in_json_it_is_one_document(scheduler: FakeScheduler, capsys: Captured) -> None:
    ledger = LedgerBuilder(scheduler.directory)
    run = ledger.run("backup", at=-60)
    ledger.attempt(run, at=-60, took=2, output_bytes=9)
    ledger.output_path("backup", run).write_bytes(b"fine\n")
    ledger.close()
    scheduler.answers["show"] = [shown()]
    assert main(["status", "backup", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"job", "next", "latest", "output"}
    assert (document["job"]["job"], document["job"]["last"]["duration_s"]) == ("backup", 2.0)
    assert document["next"][0] == "2026-11-24T04:00:10+00:00"
    assert [row["run"] for row in document["latest"]] == [run]
    assert document["output"] == {"run": run, "task": "main", "attempt": 1, "lines": ["fine"]}


def test_without_a_ledger_the_rest_is_shown(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["show"] = [shown(state="running", running=["67aw64ddpp"])]
    assert main(["status", "backup"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "state     running (run 67aw64ddpp)"
    assert err == ""
    (scheduler.directory / "ledger.db").write_bytes(b"no ledger" * 500)
    assert main(["status", "backup"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "  taskman trigger backup"
    assert [line.partition(": /")[0] for line in err.splitlines()] == [
        "taskman: the latest runs are unknown", "taskman: the latest results are unknown",
    ]  # fmt: skip


def test_a_job_that_is_not_there_is_refused(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["show"] = refusal('there is no job "x"', 4)
    assert main(["status", "x"]) == 4
    assert capsys.readouterr() == ("", 'taskman: there is no job "x"\n')


# --- next ---


def test_next_shows_the_retries_of_the_scheduler_that_runs_the_file(
    scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text('[jobs.flaky]\nevery = "30s"\ncommand = "true"\n')
    scheduler.answers["status"] = [
        STATUS | {"files": [str(path)], "retrying": [RETRY, RETRY | {"task": "db"}]}
    ]
    assert main(["next", str(path), "-n", "3"]) == 0
    assert scheduler.request == Status()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Tue 2026-11-24 04:00:30+00:00  in 30s  flaky",
        "Tue 2026-11-24 04:00:40+00:00  in 40s  flaky     retry 2 of 3",
        "Tue 2026-11-24 04:00:40+00:00  in 40s  flaky.db  retry 2 of 3",
    ]
    assert main(["next", str(path), "--json", "-n", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["retries"][0] == {
        "job": "flaky", "run": "67aw64ddpp", "retry": 2, "most": 3, "due": "2026-11-24T04:00:40+00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    "status", [{"files": ["/other.toml"], "retrying": [RETRY]}, {}], ids=["other files", "an older one"]
)
def test_next_shows_no_retries_of_another_scheduler(
    status: dict[str, Any], scheduler: FakeScheduler, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text('[jobs.flaky]\nevery = "30s"\ncommand = "true"\n')
    scheduler.answers["status"] = [STATUS | status]
    assert main(["next", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retries"] == []
