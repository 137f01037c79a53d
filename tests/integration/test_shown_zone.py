"""One clock: people's times are in the zone of the scheduler that made them, wherever they are read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from integration.why_ledger import Ledger, ns

from taskman_cli.__main__ import main
from taskman_cli.cli.zones import shown_zone, zone_called
from taskman_cli.core.model import Now, Settings
from taskman_cli.ledger.ledger import Ledger as Written
from taskman_cli.ledger.reader import shown_timezone

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
    assert zone_called("Atlantis/City") is None


@pytest.mark.parametrize("command", ["history", "events"])
def test_history_and_journal_are_told_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with closing(Ledger(tmp_path)) as ledger:
        ledger.connection.execute("UPDATE standing SET timezone = 'Asia/Tokyo'")
        ledger.finished(ledger.job("backup", since=SLOT, every_ns=10**9), SLOT)
        ledger.event(SLOT, "suspended")
        assert ns(SLOT) > 0
    assert main([command, "--state-dir", str(tmp_path)]) == 0
    assert "2020-11-24 10:30" in capsys.readouterr().out
