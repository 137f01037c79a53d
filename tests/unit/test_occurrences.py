"""Instants as clocks show them, at the ends of what there is."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from taskman_cli.core.clock import wall_time
from taskman_cli.jobfile import JobFileError, loads

SECOND_NS = 1_000_000_000
LAST_NS = 253_402_300_799 * SECOND_NS  # 9999-12-31T23:59:59Z
FIRST_NS = -62_135_596_800 * SECOND_NS


@pytest.mark.parametrize(
    ("at_ns", "zone", "shown"),
    [
        (0, "Asia/Tokyo", "1970-01-01T09:00:00+09:00"),
        (LAST_NS, "America/New_York", "9999-12-31T18:59:59-05:00"),
        (LAST_NS, "Asia/Tokyo", "9999-12-31T23:59:59+00:00"),
        (FIRST_NS, "America/New_York", "0001-01-01T00:00:00+00:00"),
        (LAST_NS + 10 * SECOND_NS, "UTC", "9999-12-31T23:59:59.999999+00:00"),
        (FIRST_NS - SECOND_NS, "UTC", "0001-01-01T00:00:00+00:00"),
        (2**63 - 1, "Asia/Tokyo", "2262-04-12T08:47:16.854775+09:00"),
    ],
)
def test_each_instant_is_shown(at_ns: int, zone: str, shown: str) -> None:
    assert wall_time(at_ns, ZoneInfo(zone)).isoformat() == shown


def test_the_machine_s_zone_does_as_well() -> None:
    for at_ns in (FIRST_NS, 0, LAST_NS):
        shown = wall_time(at_ns, None)
        assert (
            shown.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        ).total_seconds() == at_ns // SECOND_NS


@pytest.mark.parametrize("key", ["starts_at", "expires_at", "at"])
@pytest.mark.parametrize(
    "value", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", '"9999-12-31T23:59:59-01:00"']
)
def test_an_instant_that_is_in_no_year_of_utc_is_refused_with_words(key: str, value: str) -> None:
    schedule = "" if key == "at" else "every = '1h'\n"
    with pytest.raises(JobFileError, match=rf"jobs\.a\.{key}: the time is outside the years 1 to 9999"):
        loads(f"[jobs.a]\n{schedule}{key} = {value}\ncommand = 'x'\n", timezone="UTC")


def test_the_last_second_of_all_is_fine() -> None:
    (job,) = loads(
        "[jobs.a]\nevery = '1h'\nexpires_at = 9999-12-31T23:59:59Z\ncommand = 'x'\n", timezone="Asia/Tokyo"
    ).jobs
    assert job.policy.expires_at_ns == LAST_NS
