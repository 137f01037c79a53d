"""One clock: people's times are in the zone of the scheduler that made them, wherever they are read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from integration.why_ledger import Ledger, ns

from taskman_cli.__main__ import main
from taskman_cli.cli.options.zones import find_zone, shown_zone
from taskman_cli.core.clock import Now
from taskman_cli.core.model import Settings
from taskman_cli.ledger.ledger import Ledger as Written
from taskman_cli.ledger.queries.reader import shown_timezone

if TYPE_CHECKING:
    from pathlib import Path

SLOT = "2020-11-24T01:30:00"


@pytest.mark.parametrize("timezone", ["Asia/Tokyo", "Europe/Stockholm"])
def test_a_scheduler_says_its_zone_in_the_ledger(tmp_path: Path, timezone: str) -> None:
    for name in ("UTC", timezone):
        Written(tmp_path, Settings(), supervisor=1, now=Now(0, 0), timezone=name).close()
    assert shown_timezone(tmp_path) == timezone
    zone = shown_zone(tmp_path)
    assert zone is not None
    assert zone.key == timezone


def test_without_a_word_of_it_the_machines_zone_counts(tmp_path: Path) -> None:
    assert shown_zone(tmp_path) is None
    Written(tmp_path, Settings(), supervisor=1, now=Now(0, 0)).close()
    assert shown_zone(tmp_path) is None
    assert find_zone("Atlantis/City") is None


@pytest.mark.parametrize("command", ["history", "events"])
def test_history_and_events_show_times_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with closing(Ledger(tmp_path)) as ledger:
        ledger.connection.execute("UPDATE standing SET timezone = 'Asia/Tokyo'")
        ledger.finished(ledger.job("backup", since=SLOT, every_ns=10**9), SLOT)
        ledger.event(SLOT, "suspended")
        assert ns(SLOT) > 0
    assert main([command, "--state-dir", str(tmp_path)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading == "times in Asia/Tokyo"
    assert "2020-11-24 10:30" in row


def in_tokyo(directory: Path) -> None:
    with closing(Ledger(directory)) as ledger:
        ledger.connection.execute("UPDATE standing SET timezone = 'Asia/Tokyo'")
        ledger.finished(ledger.job("backup", since=SLOT, every_ns=10**9), SLOT)
        daily = ledger.job("daily", since=SLOT, cron="30 10 * * *", timezone="Europe/Stockholm")
        ledger.finished(daily, "2020-11-24T09:30:00")


@pytest.mark.parametrize(("since", "count"), [("2020-11-24T10:31", 1), ("2020-11-24T10:29", 2)])
def test_since_is_read_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], since: str, count: int
) -> None:
    in_tokyo(tmp_path)
    assert main(["history", "--state-dir", str(tmp_path), "--since", since]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + count


def test_why_reads_and_names_the_zone_of_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_tokyo(tmp_path)
    assert main(["why", "--state-dir", str(tmp_path), "daily", "--at", "2020-11-24T10:30"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("daily ran for its slot Tue 2020-11-24 10:30:00+01:00")
    assert "(Times in Europe/Stockholm.)" in text


def test_explain_of_a_job_on_record_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_tokyo(tmp_path)
    assert main(["explain", "--state-dir", str(tmp_path), "backup"]) == 0
    assert "(Asia/Tokyo)" in capsys.readouterr().out


def test_a_command_for_later_is_read_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_tokyo(tmp_path)
    asked = []
    monkeypatch.setattr("taskman_cli.cli.trial.foreground.run_here", lambda *given: asked.append(given) or 0)
    assert main(["once", "--state-dir", str(tmp_path), "--at", "2100-01-01T09:00", "true"]) == 0
    ((request, zone),) = asked
    assert request.at_ns == ns("2100-01-01T00:00:00")
    assert zone == find_zone("Asia/Tokyo")


@pytest.mark.parametrize("width", [40, 80])
def test_a_heading_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with closing(Ledger(tmp_path)) as ledger:
        ledger.connection.execute("UPDATE standing SET timezone = 'America/Argentina/Buenos_Aires'")
        ledger.finished(ledger.job("backup", since=SLOT, every_ns=10**9), SLOT)
    assert main(["history", "--state-dir", str(tmp_path)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading == "times in America/Argentina/Buenos_Aires"
    assert len(row) <= width
