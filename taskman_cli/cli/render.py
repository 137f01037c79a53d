"""The one renderer: what a command found out, as aligned text or as one JSON document, on standard output.

Plain text without colour or width: it reads the same on a terminal, in a pipe and under `NO_COLOR`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def show(document: object, rows: Iterable[Sequence[str]], *, as_json: bool) -> None:
    """Print what a command has to say: `document` as JSON, else `rows` as a table; of no rows, nothing."""
    text = json.dumps(document) if as_json else table(rows)
    if text:
        click.echo(text)


def note(text: str) -> None:
    """Say something that is no part of the data, on standard error."""
    click.echo(f"taskman: {text}", err=True)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Align the columns of `rows`, all of the same length; the last one ends where it ends."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def wall_time(at_ns: int, zone: tzinfo) -> datetime:
    """Return the time that a clock in `zone` shows at an instant."""
    return (_EPOCH + timedelta(microseconds=at_ns // 1_000)).astimezone(zone)


def day_and_time(at: datetime) -> str:
    """Write a time for people: weekday, date, time and offset."""
    return f"{at:%a} {at.isoformat(sep=' ')}"
