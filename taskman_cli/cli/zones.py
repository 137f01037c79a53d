"""`--timezone`: the zone that was named, or the machine's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.core.schedule import load_zone
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile.settings import EXAMPLE_ZONE, local_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


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
