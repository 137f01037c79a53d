"""Records from when the clock was years ahead, beside those from after it was put right: what is found."""

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

NOW = "2026-11-24T08:30:00"
AHEAD = "Records from when the clock was ahead, up to Sun 2040-11-25 05:00:00+00:00, are ignored"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger of 2026, at half past eight in the morning, UTC; the clock was in 2040 for a while."""
    for module in ("why", "history", "events"):
        clock = f"taskman_cli.cli.commands.{module}.time"
        monkeypatch.setattr(clock, SimpleNamespace(time_ns=lambda: ns(NOW)))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TASKMAN_INSTANCE", raising=False)
    with closing(Ledger(tmp_path)) as ledger:
        ledger.accounted("2026-11-24T08:20:00")
        yield ledger


@pytest.fixture
def said(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command on the ledger and return what it says."""

    def run(command: str, *arguments: str) -> str:
        assert main([command, "--state-dir", str(ledger.directory), *arguments]) == 0
        return " ".join(capsys.readouterr().out.split())

    return run


def fill(ledger: Ledger) -> dict[str, str]:
    """Add an hourly job with runs before, in and after the wrong future."""
    job = ledger.job("hourly", since="2026-11-01T00:00:00", cron="0 * * * *", timezone="UTC")
    runs = {}
    for slot in (
        "2026-11-24T04:00:00", "2026-11-24T05:00:00", "2040-11-25T04:00:00", "2040-11-25T05:00:00",
        "2026-11-24T07:00:00", "2026-11-24T08:00:00",
    ):  # fmt: skip
        if slot == "2026-11-24T07:00:00":
            ledger.event("2026-11-24T06:00:00", "scheduler_started")
        ledger.event(slot, "queued")
        runs[slot] = ledger.finished(job, slot)
        ledger.event(slot, "finished")
    ledger.skip(job, "2026-11-24T06:00:00", "missed", "reached 30m late", at="2026-11-24T06:30:00")
    return runs


def test_the_latest_slot_and_the_next_are_those_of_now(ledger: Ledger, said: Callable[..., str]) -> None:
    runs = fill(ledger)
    text = said("why", "hourly")
    assert f"ran for its slot Tue 2026-11-24 08:00:00+00:00, as run {runs['2026-11-24T08:00:00']}" in text
    assert "The next slot is 09:00:00, in 30m." in text
    assert AHEAD in text


@pytest.mark.parametrize(
    "slot", ["2026-11-24T04:00:00", "2026-11-24T05:00:00", "2026-11-24T07:00:00", "2026-11-24T08:00:00"]
)
def test_a_slot_before_or_after_that_is_found(ledger: Ledger, said: Callable[..., str], slot: str) -> None:
    runs = fill(ledger)
    assert f"as run {runs[slot]}" in said("why", "hourly", "--at", slot)


def test_a_slot_of_the_wrong_future_is_told_apart(ledger: Ledger, said: Callable[..., str]) -> None:
    runs = fill(ledger)
    text = said("why", "hourly", "--at", "2040-11-25T04:00")
    assert f"as run {runs['2040-11-25T04:00:00']}" in text
    assert "That time is in the future: the clock was ahead when this was recorded." in text


def test_a_skip_after_that_is_found(ledger: Ledger, said: Callable[..., str]) -> None:
    fill(ledger)
    assert "did not run at its slot Tue 2026-11-24 06:00:00+00:00" in said(
        "why", "hourly", "--at", "2026-11-24T06:00"
    )


def test_slots_around_a_time_that_is_none_are_those_of_its_days(
    ledger: Ledger, said: Callable[..., str]
) -> None:
    fill(ledger)
    text = said("why", "hourly", "--at", "2026-11-24T07:20")
    assert "2040" not in text
    assert "07:00:00" in text


def test_where_no_scheduler_has_run_since_it_is_judged_by_now(
    ledger: Ledger, said: Callable[..., str]
) -> None:
    job = ledger.job("daily", since="2040-11-24T00:00:00", cron="0 4 * * *", timezone="UTC")
    ledger.finished(job, "2040-11-25T04:00:00")
    ledger.event("2040-11-25T04:00:00", "scheduler_started")
    ledger.event("2040-11-25T05:00:00", "scheduler_stopped")
    ledger.accounted("2040-11-25T05:00:00")
    text = said("why", "daily")
    assert text.startswith("daily is due at its slot Wed 2026-11-25 04:00:00+00:00, in 19h30m.")
    assert "up to Sun 2040-11-25 04:00:00" in text


def test_an_interval_of_which_all_is_from_a_wrong_future_goes_on_from_now(
    ledger: Ledger, said: Callable[..., str]
) -> None:
    job = ledger.job("probe", since="2040-11-24T00:00:00", every_ns=3600 * 10**9, timezone="UTC")
    ledger.skip(job, "2040-11-25T04:00:00", "overlap", "", at="2040-11-25T04:00:00")
    pause = {"since_ns": ns("2040-11-25T04:00:00"), "until_ns": ns("2040-11-25T06:00:00"), "by": "ann"}
    other = ledger.job("still", since="2026-11-01T00:00:00", cron="0 4 * * *", timezone="UTC")
    ledger.connection.execute("UPDATE job_state SET pause = ? WHERE id = ?", (json.dumps(pause), other))
    assert said("why", "probe").startswith("probe is due at its slot Tue 2026-11-24 09:30:00+00:00, in 1h.")
    assert "paused since 08:30:00 and until 10:30:00 by ann" in said("why", "still")


@pytest.fixture
def listed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Run `history` on the ledger and return its rows."""

    def run(*arguments: str) -> list[str]:
        assert main(["history", "--state-dir", str(ledger.directory), *arguments]) == 0
        return capsys.readouterr().out.splitlines()[1:]

    return run


def test_history_has_rows_in_the_order_in_which_they_came_to_be(
    ledger: Ledger, listed: Callable[..., list[str]]
) -> None:
    fill(ledger)
    rows = listed()
    assert [row[:17].strip() for row in rows] == [
        "24 Nov 08:00:00", "24 Nov 07:00:00", "24 Nov 06:30:00", "2040-11-25 05:00", "2040-11-25 04:00",
        "24 Nov 05:00:00", "24 Nov 04:00:00",
    ]  # fmt: skip
    assert ["the clock was ahead" in row for row in rows] == [False] * 3 + [True] * 2 + [False] * 2


def test_json_tells_apart_what_was_recorded_while_the_clock_was_ahead(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(ledger)

    def told(*arguments: str) -> Any:
        assert main([*arguments, "--json", "--state-dir", str(ledger.directory)]) == 0
        out = capsys.readouterr().out
        return (
            [json.loads(line) for line in out.splitlines()] if arguments[0] == "events" else json.loads(out)
        )

    ahead = [row["clock_was_ahead"] for row in told("history")]
    assert ahead == [False] * 3 + [True] * 2 + [False] * 2
    for event in told("events"):
        assert event.get("clock_was_ahead") == (True if event["at"].startswith("2040") else None)
    assert told("why", "hourly")["clock_was_ahead"] is False
    assert told("why", "hourly")["ahead_until"] == "2040-11-25T05:00:00+00:00"
    assert told("why", "hourly", "--at", "2040-11-25T04:00")["clock_was_ahead"] is True


def test_events_are_told_apart_too(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    fill(ledger)
    assert main(["events", "--state-dir", str(ledger.directory)]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert ["the clock was ahead" in row for row in rows] == ["2040-11-25" in row for row in rows]
    assert sum("the clock was ahead" in row for row in rows) == 4


@pytest.mark.parametrize(
    ("since", "count"),
    [
        pytest.param("2026-11-24T07:30", 1, id="after the clock was put right"),
        pytest.param("2026-11-24T05:00", 6, id="before"),
        pytest.param("2040-11-25T04:30", 1, id="of the wrong future"),
    ],
)
def test_since_finds_what_was_recorded_since(
    ledger: Ledger, listed: Callable[..., list[str]], since: str, count: int
) -> None:
    fill(ledger)
    assert len(listed("--since", since)) == count
    assert len(listed("--since", since, "--state", "succeeded", "--state", "skipped")) == count


def test_where_the_journal_is_cut_off_the_rows_themselves_say_when_the_clock_was_put_right(
    ledger: Ledger, listed: Callable[..., list[str]]
) -> None:
    fill(ledger)
    ledger.connection.execute("DELETE FROM events WHERE at_ns > ? OR seq < 9", (ns("2040-01-01T00:00:00"),))
    ledger.connection.execute("DELETE FROM skips")
    assert ["the clock was ahead" in row for row in listed()] == [False] * 2 + [True] * 2 + [False] * 2
    assert len(listed("--since", "2026-11-24T07:30")) == 1


def test_skips_alone_are_told_apart_too(ledger: Ledger, listed: Callable[..., list[str]]) -> None:
    job = ledger.job("hourly", since="2026-11-01T00:00:00", cron="0 * * * *", timezone="UTC")
    ledger.finished(job, "2026-11-24T05:00:00")
    ledger.skip(job, "2040-11-25T04:00:00", "missed", "", at="2040-11-25T04:00:00")
    ledger.skip(job, "2026-11-24T06:00:00", "missed", "", at="2026-11-24T06:00:00")
    ledger.event("2026-11-24T08:00:00", "scheduler_started")
    assert [row[:17].strip() for row in listed()] == [
        "24 Nov 06:00:00",
        "2040-11-25 04:00",
        "24 Nov 05:00:00",
    ]


def test_a_command_that_runs_since_a_wrong_future_has_no_length_below_zero(
    ledger: Ledger, listed: Callable[..., list[str]]
) -> None:
    job = ledger.job("hourly", since="2026-11-01T00:00:00", cron="0 * * * *", timezone="UTC")
    at = "2040-11-25T04:00:00"
    run = ledger.run(job, at, queued=at, begun=at, state="running")
    ledger.attempt(run, state="running", begun=at, started=at)
    ledger.event("2026-11-24T08:00:00", "clock_stepped")
    (row,) = listed()
    assert row.split() == ["2040-11-25", "04:00", "hourly", "running", run, "the", "clock", "was", "ahead"]
