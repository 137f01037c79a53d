"""Time zones of times on the command line.

Unless `--timezone` names another one, times are shown and read in the zone of the scheduler, from the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path
    from zoneinfo import ZoneInfo


def shown_zone(directory: Path) -> ZoneInfo | None:
    """Return the zone in which times are shown: the scheduler's; None, the machine's, if it is unknown."""
    from taskman_cli.ledger.queries.reader import shown_timezone

    return find_zone(shown_timezone(directory))


def find_zone(name: str | None) -> ZoneInfo | None:
    """Return the zone of that name, or None."""
    from zoneinfo import ZoneInfo

    try:
        return None if name is None else ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # the machine may no longer know it
        return None


def zone_heading(zone: tzinfo | None) -> str:
    """Return the heading of a table, which names the zone of its times; None: the machine's."""
    return "times in the machine's zone" if zone is None else f"times in {zone}"


def zone_of_option(name: str | None) -> ZoneInfo:
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
