"""`taskman status`, `list` and `show`: what they make of the scheduler's replies."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from integration.fake_scheduler import NOW_NS, SECOND_NS, STATUS, FakeScheduler, job, refusal
from integration.ledger_builder import LedgerBuilder

from taskman_cli.__main__ import main
from taskman_cli.cli.commands.list import FIELDS
from taskman_cli.core.protocol import ListJobs, Show
from taskman_cli.jobfile import loads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "Europe/Stockholm")
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


def chosen(scheduler: FakeScheduler) -> ListJobs:
    """Return which jobs were asked for, however much of each."""
    assert scheduler.request.brief
    return replace(scheduler.request, fields=[], brief=False)


def running(name: str, **values: Any) -> dict[str, Any]:
    item = {
        "run": "67aw64ddpp",
        "job": name,
        "task": "main",
        "attempt": 1,
        "pid": 99,
        "started_ns": NOW_NS - 65 * SECOND_NS,
        "timeout_ns": 5 * SECOND_NS,
        "command": "sleep 600",
        "trigger": "slot",
        "note": "",
    }
    return item | values


PAUSE = {"since_ns": NOW_NS, "until_ns": NOW_NS + 600 * SECOND_NS, "reason": "disk swap", "by": "root"}

FAILING = {
    "job": "backup", "run": "67aw64ddpp", "task": "main", "state": "failed", "detail": "exit 1",
    "failures": 12, "since_ns": NOW_NS - 3_600 * SECOND_NS, "ended_ns": NOW_NS - 60 * SECOND_NS,
    "is_more": False,
}  # fmt: skip

BUSY = STATUS | {
    "paused": 1,
    "running": [running("backup", note="killing"), running("probe", task="db")],
    "ready": 2,
    "retries": 1,
    "next": [{"job": "tidy", "slot_ns": NOW_NS + 5 * SECOND_NS, "due_ns": NOW_NS + 65 * SECOND_NS}],
    "counters": STATUS["counters"] | {"started": 1234, "timed_out": 2},
}


@pytest.mark.parametrize("arguments", [["status"], ["list"], ["show", "x"]], ids=lambda words: words[0])
def test_without_a_scheduler_it_reports_that_and_exits_3(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("taskman: no taskman is running")


# --- status ---


def test_status_of_an_idle_scheduler_is_three_lines(scheduler: FakeScheduler, capsys: Captured) -> None:
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "taskman  0.1.0, process 4711, up 1h 00m: /etc/jobs.toml",
        "jobs     3, 0 of 64 workers busy",
        "so far   nothing has started yet",
    ]


def test_status_shows_what_runs_waits_and_is_next(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["status"] = [BUSY]
    scheduler.answers["list"] = [{"jobs": [job("report", "paused", pause=PAUSE)]}]
    assert main(["status"]) == 0
    assert ListJobs(states=["paused"]) == scheduler.request
    assert capsys.readouterr().out.splitlines() == [
        "taskman  0.1.0, process 4711, up 1h 00m: /etc/jobs.toml",
        "jobs     3, 1 paused, 2 of 64 workers busy, 2 waiting for one, 1 to retry",
        "running  backup    1m 05s     67aw64ddpp  [killing] sleep 600",
        "         probe.db  1m 05s     67aw64ddpp  sleep 600",
        "paused   report    until 24 Nov 05:10:00 (in 10m 00s): disk swap",
        "next     tidy      in 1m 05s  24 Nov 05:01:05",
        "times    in the machine's zone",
        "so far   1,234 started, 2 timed out",
    ]


def test_status_has_waiting_retries_among_what_is_next(scheduler: FakeScheduler, capsys: Captured) -> None:
    retry = {"run": "67aw64ddpp", "job": "tidy", "task": "db", "attempt": 3, "retry": 2, "most": 3}
    scheduler.answers["status"] = [
        BUSY | {"paused": 0, "retrying": [retry | {"due_ns": NOW_NS + 40 * SECOND_NS}]}
    ]
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[4:6] == [
        "next     tidy.db   in 40s     24 Nov 05:00:40  retry 2 of 3",
        "         tidy      in 1m 05s  24 Nov 05:01:05",
    ]


def test_what_status_says_to_type_names_the_instance_that_was_asked_for(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    alarm = FAILING | {"kind": "failing", "due_ns": None, "note": ""}
    park = {"since_ns": NOW_NS, "until_ns": None, "reason": "3 runs in a row failed", "trial": None}
    scheduler.answers["status"] = [
        BUSY
        | {
            "paused": 0,
            "failing": [alarm],
            "failing_count": 1,
            "parked": [{"job": "x", "park": park, "count": 3}],
        }
    ]
    where = f"--state-dir {scheduler.directory}"
    assert main(["status", *where.split()]) == 0
    out = capsys.readouterr().out
    assert f"taskman resume {where} x; 3 runs in a row failed\n" in out
    assert f"why: taskman why {where} backup\n" in out


def test_status_stays_under_20_lines_of_80_columns(
    scheduler: FakeScheduler, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = range(50)
    name = "a-job-with-a-name-that-is-as-long-as-a-name-may-be-and-no-longer"
    scheduler.answers["status"] = [
        BUSY
        | {
            "running": [running(name, command="x" * 200) for _ in many],
            "next": [{"job": name, "slot_ns": NOW_NS, "due_ns": NOW_NS} for _ in many],
            "paused": 50,
            "stopping": True,
            "ledger": "disk full",
            "failing": [FAILING | {"job": name, "kind": "failing", "due_ns": None, "note": ""} for _ in many],
            "failing_count": 60,
            "files_trouble": {"at_ns": NOW_NS, "summary": "jobs.toml:1:1: junk " * 20, "words": ""},
        }
    ]
    scheduler.answers["list"] = [{"jobs": [job(name, "paused", pause=PAUSE) for _ in many]}]
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) <= 80
    assert [line.strip() for line in lines if "more" in line] == [
        f"and 58 more (taskman list --state failing); why: taskman why {name}"[:68] + "…",
        "and 48 more",
        "and 48 more",
    ]
    assert {"stopping", "trouble", "job"} <= {line.split()[0] for line in lines}


def executor(name: str, state: str = "up", **values: object) -> dict[str, object]:
    ends = dict.fromkeys(("started", "succeeded", "failed", "timed_out", "cancelled", "lost"), 0)
    item = {
        "executor": name, "type": "ssh", "state": state, "since_ns": NOW_NS - 185 * SECOND_NS, "error": "",
        "running": 1, "max_workers": None, "waiting": 0, "restarts": 0, **ends, "workers": None,
    }  # fmt: skip
    return item | values


def far_worker(name: str = "w1", **values: object) -> dict[str, object]:
    return {"worker": name, "running": 2, "slots": 4, "memory_bytes": 8 * 10**9, "resources": {}} | values


FARM = {
    "executors": [
        executor("local", type="local", since_ns=None),
        executor(
            "farm", max_workers=8, waiting=2, started=1234, failed=5, restarts=1,
            workers=far_worker()
            | {"count": 3, "first": [far_worker(), far_worker("w2", resources={"gpu": 1})]},
        ),
        executor("web1", "down", running=0, error="no route to host"),
        executor("new", "idle", running=0, since_ns=None),
    ]
}  # fmt: skip


def test_status_shows_the_executors_and_those_first_that_are_away(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["status"] = [STATUS | FARM]
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[2:5] == [
        "executors  web1  down for 3m 05s  0 running; no route to host",
        "           farm  up               1 of 8 running, 2 waiting; 3 workers (2 of 4 slots, 8GB)",
        "           and 1 more",
    ]


def test_status_of_executors_is_a_table_with_the_workers_beyond_them(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["status"] = [STATUS | FARM]
    assert main(["status", "--executors"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows[2] == "farm ssh up 1 of 8 2 1,234 5 0 1 3 workers (2 of 4 slots, 8GB)"
    assert rows[3] == "w1 worker 2 of 4 8GB"
    assert rows[4] == "w2 worker 2 of 4 8GB, gpu 1"
    assert rows[5] == "and 1 more"
    assert rows[6] == "web1 ssh down for 3m 05s 0 0 0 0 0 0 no route to host"
    assert main(["status", "--executors", "--json"]) == 0
    assert [row["executor"] for row in json.loads(capsys.readouterr().out)] == [
        "local",
        "farm",
        "web1",
        "new",
    ]


def test_status_of_executors_where_there_is_none(scheduler: FakeScheduler, capsys: Captured) -> None:
    assert main(["status", "--executors"]) == 0
    assert capsys.readouterr().err == "taskman: all jobs run here: no executor but local is defined\n"


@pytest.mark.parametrize(
    "words", [["x", "--executors"], ["--check", "--executors"], ["x", "--check"]], ids=" ".join
)
def test_status_of_executors_or_health_is_about_all(
    scheduler: FakeScheduler, capsys: Captured, words: list[str]
) -> None:
    assert main(["status", *words]) == 2
    assert "is about all jobs: leave out" in capsys.readouterr().err


def test_status_says_first_what_fails_and_what_to_type(scheduler: FakeScheduler, capsys: Captured) -> None:
    alarm = FAILING | {"kind": "failing", "due_ns": NOW_NS + 60 * SECOND_NS, "note": ""}
    scheduler.answers["status"] = [
        BUSY
        | {
            "failing": [
                alarm,
                alarm | {"job": "probe", "task": "db", "state": "lost", "detail": "", "due_ns": None},
                alarm | {"job": "flaky", "state": "timed_out", "note": "retry 2 of 3", "since_ns": 0},
            ],
            "failing_count": 3,
            "paused": 0,
        }
    ]
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[2:7] == [
        "failing  backup    ×12 exit 1, next in 1m 00s, since 24 Nov 04:00:00",
        "         probe     ×12 db: lost, does not run again, since 24 Nov 04:00:00",
        "         flaky     ×12 timed out, exit 1, retry 2 of 3 in 1m 00s",
        "         why: taskman why backup",
        "running  backup    1m 05s     67aw64ddpp  [killing] sleep 600",
    ]


@pytest.mark.parametrize(("draining", "fate"), [(False, "are being ended"), (True, "may finish")])
def test_status_of_a_stop_says_what_becomes_of_what_runs(
    scheduler: FakeScheduler, capsys: Captured, *, draining: bool, fate: str
) -> None:
    scheduler.answers["status"] = [STATUS | {"stopping": True, "draining": draining}]
    assert main(["status"]) == 0
    assert f"stopping  nothing new starts, running commands {fate}" in capsys.readouterr().out.splitlines()


def test_status_in_json_has_its_times_in_iso_8601(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["status"] = [BUSY]
    assert main(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["started_at"] == "2026-11-24T04:00:00+01:00"
    assert document["now"] == "2026-11-24T05:00:00+01:00"
    assert (document["next"][0]) == {
        "job": "tidy",
        "slot": "2026-11-24T05:00:05+01:00",
        "due": "2026-11-24T05:01:05+01:00",
    }
    assert document["running"][0]["timeout_s"] == 5.0
    assert [key for key in document if key.endswith("_ns") or key == "ok"] == []


# --- list ---


def test_list_shows_state_next_start_and_schedule(scheduler: FakeScheduler, capsys: Captured) -> None:
    over = job("report", "over", schedule="at 2026-11-01 12:00", due_ns=None, slot_ns=None)
    scheduler.answers["list"] = [
        {
            "jobs": [
                job("backup", "running", running=["67aw64ddpp", "67aw64ddpr"], queued=1),
                job("probe", removed_tasks=["db"]),
                job("tidy", "paused", pause=PAUSE | {"until_ns": None}),
                job("wipe", "running", pause=PAUSE),
                job("off", "disabled"),
                over,
            ]
        }
    ]
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "times in the machine's zone",
        "JOB     STATE     NEXT    LAST  SCHEDULE   NOTE",
        "backup  running   in 10s        every 15s  2 runs, 1 queued",
        "off     disabled                every 15s",
        "probe   waiting   in 10s        every 15s  without db",
        "report  over                    at 2026-11-01 12:00",
        "tidy    paused                  every 15s  disk swap",
        "wipe    running   in 10s        every 15s  paused until 24 Nov 05:10:00 (in 10m 00s): disk swap",
    ]


@pytest.mark.parametrize(
    ("until_s", "trial", "note"),
    [
        (None, "", "3 runs failed"),
        (600, "", "until 24 Nov 05:10:00 (in 10m 00s): 3 runs failed"),
        (-1, "", "its next slot is tried: 3 runs failed"),
        (-1, "67aw64ddpp", "run 67aw64ddpp tries it: 3 runs failed"),
    ],
    ids=["for good", "for a time", "over", "tried"],
)
def test_list_shows_how_it_goes_on_with_a_parked_job(
    scheduler: FakeScheduler, capsys: Captured, until_s: int | None, trial: str, note: str
) -> None:
    until_ns = None if until_s is None else NOW_NS + until_s * SECOND_NS
    park = {"since_ns": NOW_NS, "until_ns": until_ns, "reason": "3 runs failed", "trial": trial}
    scheduler.answers["list"] = [{"jobs": [job("x", "parked", park=park)]}]
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"every 15s  {note}")


def test_list_shows_the_latest_results_and_jobs_that_fail_first(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    ledger = LedgerBuilder(scheduler.directory)
    for name, state, ago in (("job10", "succeeded", 120), ("job9", "cancelled", 60), ("slow", "failed", 30)):
        run = ledger.run(name, state, at=-ago)
        ledger.attempt(run, state, at=-ago, took=12)
    ledger.close()
    retry = {"task": "main", "attempt": 3, "retry": 2, "most": 3, "due_ns": NOW_NS + 40 * SECOND_NS}
    scheduler.answers["list"] = [
        {
            "jobs": [
                job("job10"),
                job("job9"),
                job("slow", retrying=[retry]),
                job("probe", failing=FAILING | {"task": "db", "failures": 3, "is_more": True}),
                job("backup", failing=FAILING),
                job(
                    "cut",
                    failing=FAILING | {"state": "timed_out", "failures": 4, "detail": "killed by SIGTERM"},
                ),
                job("new"),
            ]
        }
    ]
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "JOB     STATE    NEXT    LAST                  SCHEDULE   NOTE",
        "backup  waiting  in 10s  ✗ ×12 exit 1          every 15s",
        "cut     waiting  in 10s  ! ×4 timed out        every 15s",
        "probe   waiting  in 10s  ✗ ×3+ db: exit 1      every 15s",
        "job9    waiting  in 10s  ■ cancelled, 59s ago  every 15s",
        "job10   waiting  in 10s  ✓ 1m ago 12s          every 15s",
        "new     waiting  in 10s                        every 15s",
        "slow    waiting  in 10s  ✗ exit 3, 29s ago     every 15s  retry 2 of 3 in 40s",
    ]
    assert main(["list", "--json"]) == 0
    items = {item["job"]: item for item in json.loads(capsys.readouterr().out)}
    assert [*items] == ["job10", "job9", "slow", "probe", "backup", "cut", "new"]
    assert items["job10"]["last"]["ended_at"] == "2026-11-24T04:58:01+01:00"
    assert items["job10"]["last"]["duration_s"] == 12.0
    assert items["new"]["last"] is None
    assert (items["backup"]["failing"]["since"], items["backup"]["failing"]["failures"]) == (
        "2026-11-24T04:00:00+01:00",
        12,
    )
    assert items["slow"]["retrying"][0]["due"] == "2026-11-24T05:00:40+01:00"


def test_list_cuts_no_name_and_leaves_the_schedule_out_first(
    scheduler: FakeScheduler, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a-job-with-a-name-that-is-as-long-as-a-name-may-be-and-no-longer"
    scheduler.answers["list"] = [
        {"jobs": [job(name, failing=FAILING), job("tidy", "paused", pause=PAUSE | {"until_ns": None})]}
    ]
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "times in the machine's zone",
        "JOB   STATE    NEXT    LAST          SCHEDULE / N…",
        name,
        "      waiting  in 10s  ✗ ×12 exit 1  every 15s",
        "tidy  paused                         disk swap",
    ]


def test_list_leaves_the_schedule_out_where_a_note_would_be_cut_short(
    scheduler: FakeScheduler, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = [{"reason": "for 1 db; backup (1 db) holds it"}]
    jobs = [job("probe", failing=FAILING), job("report-of-the-week", "queued", queued=1, waits=waits)]
    scheduler.answers["list"] = [{"jobs": jobs}]
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "JOB                 STATE    NEXT    LAST          SCHEDULE / NOTE",
        "probe               waiting  in 10s  ✗ ×12 exit 1  every 15s",
        "report-of-the-week  queued   in 10s                1 queued, waits for 1 db; ba…",
    ]
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "report-of-the-week  queued   in 10s                every 15s  1 queued, waits for 1 db; backup (1 d…"
    )


def test_list_without_a_readable_ledger_says_so_and_shows_the_rest(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    (scheduler.directory / "ledger.db").write_bytes(b"no ledger" * 500)
    scheduler.answers["list"] = [{"jobs": [job("backup", failing=FAILING)]}]
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "backup  waiting  in 10s  ✗ ×12 exit 1  every 15s"
    assert err.startswith("taskman: the latest results are unknown: ")
    assert err.count("\n") == 1


def test_list_of_the_jobs_that_fail(scheduler: FakeScheduler, capsys: Captured) -> None:
    jobs = [
        job("a", enabled=True),
        job("b", failing=FAILING, enabled=True),
        job("c", "disabled", enabled=False),
    ]
    scheduler.answers["list"] = [{"jobs": jobs}]
    for states, expected in ((["failing"], ["b"]), (["failing", "disabled"], ["b", "c"])):
        options = [word for state in states for word in ("--state", state)]
        assert main(["list", "--json", *options]) == 0
        assert ListJobs() == chosen(scheduler)
        assert [item["job"] for item in json.loads(capsys.readouterr().out)] == expected


def test_list_asks_for_tags_states_and_one_off_jobs(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["list"] = [{"jobs": []}]
    assert main(["list", "--tag", "disk", "--tag", "net", "--state", "PAUSED", "--once"]) == 0
    assert ListJobs(tags=["disk", "net"], states=["paused"], once=True) == chosen(scheduler)
    assert capsys.readouterr() == ("", "taskman: nothing found\n")


def test_list_asks_for_a_page(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["list"] = [{"jobs": [job("probe"), job("tidy")]}]
    assert main(["list", "--after", "backup", "--limit", "2"]) == 0
    assert ListJobs(after="backup", limit=2) == chosen(scheduler)
    assert capsys.readouterr().out.count("waiting") == 2


def test_list_of_fields_prints_these_in_that_order(scheduler: FakeScheduler, capsys: Captured) -> None:
    def answer(request: ListJobs) -> list[dict[str, Any]]:
        item = job("probe", enabled=True, failing=None, park=None)
        return [{"jobs": [{name: item[name] for name in request.fields}]}]

    scheduler.answers["list"] = answer
    for fields, asked, expected in (
        ("state,due", ["state", "due_ns"], {"state": "waiting", "due": "2026-11-24T05:00:10+01:00"}),
        ("JOB, tags,job", ["job", "tags"], {"job": "probe", "tags": []}),
        ("last,job", ["job"], {"last": None, "job": "probe"}),
        ("last", ["job"], {"last": None}),
    ):
        assert main(["list", "--json", "--fields", fields]) == 0
        assert ListJobs(fields=asked, brief=True) == scheduler.request
        assert [[*item.items()] for item in json.loads(capsys.readouterr().out)] == [[*expected.items()]]
    assert main(["list", "--json", "--fields", "job", "--state", "failing"]) == 0
    assert scheduler.request.states == []
    assert capsys.readouterr().out == "[]\n"


def test_list_of_those_that_fail_counts_them_after_they_are_found(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    jobs = [job(name, failing=FAILING if name in "bd" else None, enabled=True) for name in "abcd"]
    scheduler.answers["list"] = [{"jobs": jobs}]
    assert main(["list", "--json", "--state", "failing", "--limit", "1", "--after", "z"]) == 0
    assert ListJobs(after="z") == chosen(scheduler)
    assert [item["job"] for item in json.loads(capsys.readouterr().out)] == ["b"]


def test_list_of_an_earlier_scheduler_is_cut_here(scheduler: FakeScheduler, capsys: Captured) -> None:
    def answer(request: ListJobs) -> list[dict[str, Any]]:
        for name in ("fields", "after", "limit", "brief"):
            if getattr(request, name):
                return refusal(f"list has no parameter {name!r} (if taskman was upgraded …)", 2)
        return [{"jobs": [job("a"), job("b"), job("c")]}]

    scheduler.answers["list"] = answer
    assert main(["list", "--json", "--fields", "job", "--limit", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"job": "a"}, {"job": "b"}]
    for options in ([], ["--json"]):
        assert main(["list", *options]) == 0
        assert capsys.readouterr().out.count("every 15s") == 3
    assert main(["list", "--json", "--fields", "job", "--after", "a"]) == 2
    assert capsys.readouterr().err.startswith("taskman: list has no parameter 'fields'")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "--fields", "job,stat"], '"stat" is not one of job, schedule, state, '),
        (["--json", "--fields", "job,stat"], '(did you mean "state"?)'),
        (["--json", "--fields", ""], '"" is not one of job, '),
        (["--fields", "job"], "--fields chooses fields of --json: add it"),
        (["--limit", "0"], '"0" is not a whole number from 1 to 1000000'),
        (["--limit", "x"], '"x" is not a whole number from 1 to 1000000'),
    ],
)
def test_list_refuses_what_it_cannot_print(
    scheduler: FakeScheduler, capsys: Captured, options: list[str], words: str
) -> None:
    assert main(["list", *options]) == 2
    assert words in capsys.readouterr().err
    assert scheduler.requests == []


def test_list_fills_in_what_a_scheduler_leaves_out(scheduler: FakeScheduler, capsys: Captured) -> None:
    brief = {"job": "probe", "state": "waiting", "schedule": "every 15s", "enabled": True, "due_ns": NOW_NS}
    scheduler.answers["list"] = [{"jobs": [brief]}]
    assert main(["list", "--json"]) == 0
    [item] = json.loads(capsys.readouterr().out)
    assert [*item] == [*FIELDS]
    assert (item["slot"], item["tags"], item["queued"], item["due"]) == (
        None, [], 0, "2026-11-24T05:00:00+01:00",
    )  # fmt: skip
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["probe", "waiting", "due", "every", "15s"]


def test_list_refuses_an_unknown_state(scheduler: FakeScheduler, capsys: Captured) -> None:
    assert main(["list", "--state", "asleep"]) == 2
    assert '"asleep" is not one of' in capsys.readouterr().err


def test_list_in_json_is_one_array(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["list"] = [{"jobs": [job("tidy", "paused", pause=PAUSE), job("probe")]}]
    assert main(["list", "--json"]) == 0
    tidy, probe = json.loads(capsys.readouterr().out)
    assert (
        tidy["pause"]["until"],
        tidy["pause"]["since"],
    ) == ("2026-11-24T05:10:00+01:00", "2026-11-24T05:00:00+01:00")
    assert probe["due"] == "2026-11-24T05:00:10+01:00"


def test_list_in_json_without_jobs_is_an_empty_array(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["list"] = [{"jobs": []}]
    assert main(["list", "--json"]) == 0
    assert capsys.readouterr() == ("[]\n", "")


# --- show ---

SHOWN = {
    "job": job("backup", "running", running=["67aw64ddpp"], pause=PAUSE),
    "definition": {
        "cron": "30 2 * * *",
        "tags": ["disk"],
        "overlap": "skip",
        "max_running": None,
        "start_deadline": "1h",
        "retry": {"max": 3, "delay": "1m", "exit_codes": [75]},
        "tasks": {
            "main": {"command": "restic backup /home", "timeout": "1h", "env": {"A": 'quo"te', "B": ""}},
            "check": {"command": ["restic", "check"], "umask": "022", "kill_signal": "TERM"},
        },
    },
    "source": "/etc/jobs.toml:14",
    "timezone": "America/New_York",
    "next_ns": [NOW_NS + 12_600 * SECOND_NS],
}


def test_show_has_the_whole_definition(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["show"] = [SHOWN]
    assert main(["show", "backup"]) == 0
    assert Show(job="backup") == scheduler.request
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert ["next", "Tue 2026-11-24 02:30:00-05:00  in 3h 30m"] in lines
    assert ["retry.max", "3"] in lines
    assert ["max_running", "none"] in lines
    assert ["tasks.check.command", '["restic", "check"]'] in lines
    assert [
        "state",
        "running, run 67aw64ddpp, paused until 23 Nov 23:10:00 (in 10m 00s) by root: disk swap",
    ] in lines


@pytest.mark.parametrize(
    ("about", "state"),
    [
        ({"park": {"until_ns": None, "reason": "it failed"}}, "parked, parked: it failed"),
        (
            {"park": {"until_ns": NOW_NS, "reason": "it failed", "trial": ""}},
            "parked, parked (its next slot is tried): it failed",
        ),
        ({"stopped": ["1"], "running": ["1"]}, "parked, run 1, stopped"),
        ({"stopped": ["1"], "running": ["1", "2"]}, "parked, run 1 2, stopped: 1"),
        ({"unstopped": ["1"], "running": ["1"]}, "parked, run 1, cannot be stopped: goes on"),
        ({"unstopped": ["1"], "running": ["1", "2"]}, "parked, run 1 2, cannot be stopped: 1"),
    ],
    ids=["parked", "to be tried", "stopped", "one stopped", "goes on", "one goes on"],
)
def test_show_says_how_a_job_stands(
    scheduler: FakeScheduler, capsys: Captured, about: dict[str, Any], state: str
) -> None:
    scheduler.answers["show"] = [SHOWN | {"job": job("backup", "parked") | about}]
    assert main(["show", "backup"]) == 0
    assert ["state", state] in [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]


def test_show_as_toml_is_a_job_file(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["show"] = [SHOWN]
    assert main(["show", "backup", "--toml"]) == 0
    (loaded,) = loads(capsys.readouterr().out).jobs
    assert (loaded.id, loaded.schedule.timezone) == ("backup", "America/New_York")
    main_task, check = loaded.tasks
    assert main_task.execution.env == {"A": 'quo"te', "B": ""}
    assert check.command == ("restic", "check")


def test_show_in_json_has_the_next_slots_in_iso_8601(scheduler: FakeScheduler, capsys: Captured) -> None:
    scheduler.answers["show"] = [SHOWN]
    assert main(["show", "backup", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["next"] == ["2026-11-24T08:30:00+01:00"]
    assert None is document["definition"]["max_running"]


def test_show_of_an_unknown_job_prints_the_schedulers_error(
    scheduler: FakeScheduler, capsys: Captured
) -> None:
    scheduler.answers["show"] = refusal('there is no job "bakup" (did you mean "backup"?)', 4)
    assert main(["show", "bakup"]) == 4
    assert capsys.readouterr() == ("", 'taskman: there is no job "bakup" (did you mean "backup"?)\n')


def test_show_takes_one_form_only(scheduler: FakeScheduler, capsys: Captured) -> None:
    assert main(["show", "backup", "--toml", "--json"]) == 2
    assert "not both" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["list"], ["show", "backup"]], ids=lambda words: words[0])
def test_a_closed_pipe_is_not_an_error(
    words: list[str], scheduler: FakeScheduler, capfd: pytest.CaptureFixture[str]
) -> None:
    import subprocess

    from integration.following import TASKMAN

    scheduler.answers["show"] = [SHOWN]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        result = subprocess.run(
            [TASKMAN, *words], stdout=writer, stderr=subprocess.PIPE, check=False, env=environment
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")
