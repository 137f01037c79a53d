"""The type of options that take a duration."""

from __future__ import annotations

import click

from taskman_cli.errors import TimespecError

#: A longer duration is a mistake, and beyond what clocks can count.
_MOST_DAYS = 36_525


class Duration(click.ParamType[int]):
    """A duration such as "90s" or "1h30m", in nanoseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the duration."""
        from datetime import timedelta

        from taskman_cli.core.timespec import parse_duration

        try:
            duration = parse_duration(str(value))
        except TimespecError as error:
            self.fail(str(error), param, ctx)
        if duration > timedelta(days=_MOST_DAYS):
            self.fail("longer than a hundred years", param, ctx)
        return duration // timedelta(microseconds=1) * 1000
