"""UTC on a machine without a database of zones."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from taskman_cli.core.schedule import ScheduleError, load_zone, zones


class _NoDatabase(ZoneInfo):
    def __new__(cls, key: str) -> _NoDatabase:
        raise ZoneInfoNotFoundError(key)


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "ZoneInfo", _NoDatabase)
    zones._bare_utc.cache_clear()


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC"])
def test_utc_needs_no_database(name: str) -> None:
    zone = load_zone(name)
    assert name == zone.key == str(zone)
    assert zone is load_zone(name)
    for year in (1, 1969, 2026, 9999):
        at = datetime(year, 6, 1, tzinfo=zone)
        assert (timedelta(0), timedelta(0), "UTC") == (at.utcoffset(), at.dst(), at.tzname())


def test_any_other_zone_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScheduleError, match='"Europe/Stockholm" is not a time zone'):
        load_zone("Europe/Stockholm")
    monkeypatch.setattr(zones, "available_timezones", set)
    with pytest.raises(ScheduleError, match='"Europe/Stockholm" is unknown: no time zone data is installed'):
        load_zone("Europe/Stockholm")


@pytest.mark.parametrize(("place", "expected"), [((1,), b"bc"), ((1, 1), b"d"), ((-1, 2), b"d")])
def test_the_file_of_utc_can_be_read_from_any_place(place: tuple[int, ...], expected: bytes) -> None:
    file = zones._Bytes(b"abcd")
    assert file.read(2) == b"ab"
    file.seek(*place)
    assert file.read(2) == expected
