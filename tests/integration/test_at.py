"""The answers of at(1) that the unit tests go by are still those of the at(1) on this machine."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import debian
import pytest
from integration.at_oracle import Oracle
from unit.at_answers import ANSWERS

from taskman_cli.core.timespec import parse_timespec

if TYPE_CHECKING:
    from pathlib import Path

WHY_NOT = debian.why_not(debian.AT)

pytestmark = [pytest.mark.real, pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")]


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    """The real at(1) under a clock that stands still."""
    return Oracle(tmp_path)


def test_at_still_answers_as_it_was_written_down(oracle: Oracle) -> None:
    asked = [
        ((now, zone), spec, answer)
        for (now, zone), answers in ANSWERS.items()
        for spec, answer in list(answers.items())[::10]
    ]
    assert [
        (moment, spec)
        for moment, spec, answer in asked
        if answer != oracle.ask(spec, now=moment[0], zone=moment[1])
    ] == []


@pytest.mark.parametrize("zone", ["Europe/Stockholm", "America/New_York", "Pacific/Chatham"])
def test_every_day_of_a_year_is_reached_as_at_reaches_it(oracle: Oracle, zone: str) -> None:
    now = "2026-02-10 11:30:00"
    clock = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone))
    specs = [f"now + {days} days" for days in range(0, 366, 7)] + [
        f"noon + {weeks} weeks" for weeks in range(52)
    ]
    assert {spec: oracle.ask(spec, now=now, zone=zone) for spec in specs} == {
        spec: parse_timespec(spec, now=clock).isoformat() for spec in specs
    }
