"""`--timezone`: the zone that was named, or the machine's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.core.schedule import load_zone
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile.settings import EXAMPLE_ZONE, local_zone

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo


def shown_zone(directory: Path) -> ZoneInfo | None:
    """Return the zone that times are shown in: the scheduler's; None, the machine's, if nobody said it."""
    from taskman_cli.ledger.reader import shown_timezone

    return zone_called(shown_timezone(directory))


def zone_called(name: str | None) -> ZoneInfo | None:
    """Return the zone of that name, if there is one."""
    try:
        return None if name is None else load_zone(name)
    except ScheduleError:  # it may have gone from the machine since
        return None


def zone_named(name: str | None) -> ZoneInfo:
    """Return the zone of that name; None: the machine's own."""
    if name is None:
        try:
            return local_zone()
        except ScheduleError as error:
            mend = f"give --timezone, or set TZ to one such as {EXAMPLE_ZONE}"
            raise click.UsageError(f"{error}: {mend}", click.get_current_context()) from error
    try:
        return load_zone(name)
    except ScheduleError as error:
        raise click.BadParameter(str(error), param_hint="--timezone") from error
