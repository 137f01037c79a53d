"""`taskman events`: the journal as text and as JSON lines, from a number on, and followed."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from integration.following import TASKMAN, Following
from integration.ledger_builder import START_NS, LedgerBuilder

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Events = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    for name in ("TASKMAN_INSTANCE", "COLUMNS", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.time_ns", lambda: START_NS)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[LedgerBuilder]:
    builder = LedgerBuilder(tmp_path / "state")
    yield builder
    builder.close()


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Events:
    """Run `taskman events --json` and return its lines."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        assert main(["events", "--json", *arguments]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Following]]:
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        started.append(Following(tmp_path / f"out{len(started)}", "events", "-f", *arguments))
        return started[-1]

    yield start
    for following in started:
        following.close()


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["seq"] for row in rows]


# --- what is shown ---


def test_an_event_has_the_keys_that_it_has_a_value_for(builder: LedgerBuilder, events: Events) -> None:
    run = builder.run("a")
    builder.event(
        "ended", at=1.5, job="a", run=run, task="main", attempt=2, slot_ns=START_NS, state="failed",
        detail="exit 3", data={"n": 1},
    )  # fmt: skip
    builder.event("scheduler_stopped", at=2)
    assert events() == [
        {
            "seq": 1, "at": "2026-11-24T04:00:01.500000+00:00", "kind": "ended", "job": "a", "run": run,
            "task": "main", "attempt": 2, "slot": "2026-11-24T04:00:00+00:00", "state": "failed",
            "detail": "exit 3", "data": {"n": 1},
        },
        {"seq": 2, "at": "2026-11-24T04:00:02+00:00", "kind": "scheduler_stopped"},
    ]  # fmt: skip


def test_by_default_the_last_fifty_are_shown_oldest_first(builder: LedgerBuilder, events: Events) -> None:
    for at in range(60):
        builder.event("queued", at=at, job="ab"[at % 2])
    builder.job("a")
    assert list(range(11, 61)) == numbers(events())
    assert numbers(events("-n", "2")) == [59, 60]
    assert list(range(1, 61)) == numbers(events("-n", "0"))
    assert list(range(6, 61)) == numbers(events("--after", "5"))
    assert numbers(events("--after", "5", "-n", "2")) == [6, 7]
    assert numbers(events("--job", "a", "-n", "2")) == [57, 59]
    assert numbers(events("--after", "60")) == []


def test_since_is_a_time_as_everywhere(builder: LedgerBuilder, events: Events) -> None:
    for at in range(60):
        builder.event("queued", at=at, job="ab"[at % 2])
    builder.job("a")
    since = ("--since", "2026-11-24T04:00:57Z")
    assert numbers(events(*since)) == [58, 59, 60]
    assert numbers(events(*since, "-n", "2")) == [59, 60]
    assert numbers(events(*since, "-n", "0")) == [58, 59, 60]
    assert numbers(events(*since, "--job", "a")) == [59]
    assert numbers(events(*since, "--after", "58")) == [59, 60]
    assert numbers(events(*since, "--after", "3", "-n", "1")) == [58]
    assert numbers(events("--since", "2026-11-24T04:02:00Z")) == []


def test_since_finds_what_a_clock_that_went_back_has_moved(builder: LedgerBuilder, events: Events) -> None:
    for at in (0, 50, 10, 60):
        builder.event("queued", at=at, job="a")
    assert numbers(events("--since", "2026-11-24T04:00:40Z")) == [2, 4]


def test_the_text_has_number_time_kind_job_run_and_words(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = builder.run("probe")
    builder.event("scheduler_started", detail="after a crash")
    builder.event("jobs_loaded", data={"jobs": 2, "added": ["a", "b"], "changed": [], "removed": ["c"]})
    builder.event("clock_stepped", data={"delta_ns": -5_000_000_000})
    builder.event("queued", job="probe", run=run, state="catch_up", slot_ns=START_NS)
    builder.event(
        "ended", job="probe", run=run, task="db", attempt=2, state="timed_out", detail="killed by SIGTERM"
    )
    skip = {"slot_to_ns": START_NS, "count": 3, "blocker": run}
    builder.event("skipped", job="slow", state="overlap", detail="run 1 is not over", data=skip)
    builder.event("paused", job="slow", detail="lunch", data={"by": "ann (uid 7, pid 8)"})
    builder.event(
        "finished", job="probe", run=run, state="failed", data={"failures": 5, "since_ns": START_NS}
    )
    assert main(["events"]) == 0
    time = "24 Nov 04:00:00"
    assert capsys.readouterr() == (
        "times in the machine's zone\n"
        f"1  {time}  scheduler started: after a crash\n"
        f"2  {time}  jobs loaded: jobs: 2, added: a b, removed: c\n"
        f"3  {time}  clock stepped: delta: -5s\n"
        f"4  {time}  queued    probe     {run}  catch up\n"
        f"5  {time}  ended     probe.db  {run}  timed out, attempt 2, killed by SIGTERM\n"
        f"6  {time}  skipped   slow                  overlap, run 1 is not over, count: 3\n"
        f"7  {time}  paused    slow                  lunch, by ann (uid 7, pid 8)\n"
        f"8  {time}  finished  probe     {run}  failed, failures: 5, since: {time}\n",
        "",
    )


def test_events_that_were_removed_or_are_yet_to_come_are_reported(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    for at in range(5):
        builder.event("queued", at=at, job="a")
    builder.connection.execute("DELETE FROM events WHERE seq < 4")
    assert main(["events", "--json", "--after", "1"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [4, 5]
    assert err == "taskman: events before 4 have been removed\n"
    assert main(["events", "--json", "--after", "3"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["events", "--json", "--after", "9"]) == 0
    assert capsys.readouterr() == ("", "taskman: there is no event 9 yet, the last one is 5\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        pytest.param(
            ["--job", "bckup"], 4, 'the ledger has no job "bckup" (did you mean "backup"?)', id="job"
        ),
        pytest.param(["--after", "2h"], 2, '"2h" is not a whole number of at least 0', id="no number"),
        pytest.param(["--since", "100"], 2, "for the events after number 100 give --after 100", id="no time"),
        pytest.param(["--since", "last week"], 2, '"last" is not a known word for a time', id="a bad time"),
        pytest.param(["-n", "-5"], 2, '"-5" is not a whole number of at least 0', id="a negative number"),
        pytest.param(["-f", "--after", "1", "-n", "1"], 2, "leave out -n", id="following and a bound"),
        pytest.param(["--state-dir", "/nowhere"], 1, "there is no ledger in /nowhere", id="no ledger"),
    ],
)
def test_an_unknown_name_or_invalid_option_is_an_error_in_one_line(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    builder.job("backup")
    assert code == main(["events", *arguments])
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


# --- following ---


def test_following_prints_what_comes_until_ctrl_c(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    builder.event("queued", job="a")
    following = follow("--json", "-n", "1")
    following.wait_for(b'"seq": 1')
    builder.event("queued", job="b")
    following.wait_for(b'"seq": 2')
    builder.event("queued", job="c")
    following.wait_for(b'"seq": 3')
    assert following.interrupt() == 130
    assert [json.loads(line)["seq"] for line in following.output.splitlines()] == [1, 2, 3]


def test_following_one_job_leaves_out_the_others(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    builder.job("b")
    builder.event("queued", job="b")
    builder.event("queued", job="a")
    following = follow("--job", "b", "--json")
    following.wait_for(b'"seq": 1')
    for job in "aba":
        builder.event("queued", job=job)
    following.wait_for(b'"seq": 4')
    builder.event("queued", job="b")
    following.wait_for(b'"seq": 6')
    assert [json.loads(line)["seq"] for line in following.output.splitlines()] == [1, 4, 6]


def test_following_from_a_number_that_is_still_to_come_waits_for_the_next(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    builder.event("queued", job="a")
    following = follow("--json", "--after", "2")
    builder.event("queued", job="b")
    builder.event("queued", job="c")
    following.wait_for(b'"seq": 3')
    assert len(following.output.splitlines()) == 1


def test_a_reader_that_leaves_ends_the_following_though_nothing_happens(builder: LedgerBuilder) -> None:
    builder.event("queued", job="a")
    with subprocess.Popen(
        [TASKMAN, "events", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"times in" in process.stdout.readline()
        assert b"queued" in process.stdout.readline()
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (141, b"")


def test_following_hardly_costs_anything_while_nothing_happens(
    builder: LedgerBuilder, follow: Callable[..., Following], monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskman_cli.cli.commands import events as module
    from taskman_cli.cli.support.polling import OutputPoll

    builder.event("queued", job="a")
    looks = []
    monkeypatch.setattr(module, "_show_after", lambda *_, **__: looks.append(1))
    pauses = iter(range(5))

    def wait(_poll: OutputPoll) -> None:
        if next(pauses, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(OutputPoll, "wait", wait)
    assert main(["events", "-f"]) == 130
    assert looks == [], "nobody has written, so nothing is looked up"
