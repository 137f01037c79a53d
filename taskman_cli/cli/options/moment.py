"""Times on the command line, in the notation of at(1) or ISO 8601, and their errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from taskman_cli.core.clock import wall_time
from taskman_cli.errors import ScheduleError, TimespecError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

#: The longest text that is shown with a mark.
_SHOWN = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def read_moment(
    text: str,
    *,
    now_ns: int,
    zone: ZoneInfo | None,
    timezone: str | None = None,
    option: str = "--at",
) -> datetime:
    """Read a time in the future, or the current minute.

    A time without an offset is in the zone that `timezone` names, else in `zone`; None is the machine's.
    Raises click.BadParameter, which shows the place of the error.
    """
    from taskman_cli.core.timespec import parse_timespec

    now = wall_time(now_ns, _zone(timezone, zone, option))
    try:
        found = parse_timespec(text, now=now)
    except TimespecError as error:
        raise bad_time(error, text, option=option) from error
    check_last(instant_ns(found), option=option)
    return found


def check_last(at_ns: int, *, option: str) -> None:
    """Raise click.BadParameter for a time that is too late to be recorded."""
    from taskman_cli.core.protocol import LAST_NS

    if at_ns > LAST_NS:
        last = wall_time(LAST_NS, UTC).isoformat(" ", "seconds")
        raise click.BadParameter(
            f"too far in the future: the latest possible time is {last}", param_hint=option
        )


def bad_time(error: TimespecError, text: str, *, option: str, fix: str = "") -> click.BadParameter:
    """Return the error for an invalid time, with a mark below the place."""
    from taskman_cli.core.escapes import printable

    before = " " * len(printable(text[: error.column]))
    shown = f"\n  {printable(text)}\n  {before}^" if 0 < len(text) <= _SHOWN else ""
    return click.BadParameter(f"{error}{fix}{shown}", param_hint=option)


def instant_ns(at: datetime) -> int:
    """Return a time in nanoseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND * 1_000


def _zone(name: str | None, default: ZoneInfo | None, option: str) -> ZoneInfo:
    from taskman_cli.core.schedule import load_zone
    from taskman_cli.jobfile.settings import local_zone

    if name is None and default is not None:
        return default
    try:
        return local_zone() if name is None else load_zone(name)
    except ScheduleError as error:
        if name is not None:
            raise click.BadParameter(str(error), param_hint="--timezone") from error
        fix = "set TZ to a name such as Europe/Stockholm"
        raise click.BadParameter(f"{error}: {fix}", param_hint=option) from error
