"""Times and durations as a person types them, through the commands that read them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import pytest

from taskman_cli.__main__ import main
from taskman_cli.cli.commands.pause import _end
from taskman_cli.cli.options.arguments import since_ns
from taskman_cli.cli.options.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_NS = int(datetime(2026, 11, 24, 10, 17, 42, tzinfo=UTC).timestamp()) * 10**9
HOUR_NS = 3600 * 10**9


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    """A command line, for errors to belong to."""
    with click.Context(click.Command("pause")):
        yield


@pytest.mark.parametrize("text", ["1h30", "90 minutes", "90min", "5400secs", "1 hour 30 mins"])
def test_a_pause_for_a_length_of_time_is_that_long(text: str) -> None:
    assert _end(text) == {"for_ns": HOUR_NS * 3 // 2}
    assert Duration().convert(text, None, None) == HOUR_NS * 3 // 2


def test_a_pause_from_ten_hours_on_is_until_that_time_of_day() -> None:
    until_ns = _end("16h30")["until_ns"]
    assert 0 < until_ns - time.time_ns() <= 24 * HOUR_NS


@pytest.mark.parametrize("text", ["2h", "2 hours", "2 hours ago", "2hrs ago", "120 min"])
def test_since_a_duration_means_that_long_ago(text: str) -> None:
    assert since_ns(text, now_ns=NOW_NS) == NOW_NS - 2 * HOUR_NS


@pytest.mark.parametrize("text", ["2116-02-20T23:53:38Z", "20000 days"])
def test_the_last_times_that_can_be_kept_are_taken(text: str) -> None:
    assert _end(text)


@pytest.mark.parametrize("text", ["2116-02-20T23:53:39Z", "2262-05-01", "noon Jul 31 9999", "36000 days"])
def test_what_is_later_is_refused_with_the_last_time_that_can_be_kept(text: str, tmp_path: Path) -> None:
    last = "the latest possible time is 2116-02-20 23:53:38+00:00"
    with pytest.raises(click.BadParameter, match=re.escape(last)):
        _end(text)
    option = "--in" if text.endswith("days") else "--at"
    arguments = ["once", option, text, "true", "--state-dir", str(tmp_path)]
    assert main(arguments) == 2


@pytest.mark.parametrize("text", ["-5m", "4:13:02", "30m1h", "5 parsecs"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)
