"""The zones of times on the command line: shown, typed, or named with `--timezone`.

What people read and what they type is in one zone, that of the scheduler, which the ledger has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path
    from zoneinfo import ZoneInfo


def shown_zone(directory: Path) -> ZoneInfo | None:
    """Return the zone that times are shown in: the scheduler's; None, the machine's, if nobody said it."""
    from taskman_cli.ledger.queries.reader import shown_timezone

    return zone_called(shown_timezone(directory))


def zone_called(name: str | None) -> ZoneInfo | None:
    """Return the zone of that name, if there is one."""
    from zoneinfo import ZoneInfo

    try:
        return None if name is None else ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # it may have gone from the machine since
        return None


def times_in(zone: tzinfo | None) -> str:
    """Return the heading of a table: the zone of all times in it; None: the machine's."""
    return "times in the machine's zone" if zone is None else f"times in {zone}"


def zone_named(name: str | None) -> ZoneInfo:
    """Return the zone of that name; None: the machine's own."""
    from taskman_cli.core.schedule import load_zone
    from taskman_cli.errors import ScheduleError
    from taskman_cli.jobfile.settings import EXAMPLE_ZONE, local_zone

    if name is None:
        try:
            return local_zone()
        except ScheduleError as error:
            fix = f"give --timezone, or set TZ to one such as {EXAMPLE_ZONE}"
            raise click.UsageError(f"{error}: {fix}", click.get_current_context()) from error
    try:
        return load_zone(name)
    except ScheduleError as error:
        raise click.BadParameter(str(error), param_hint="--timezone") from error
