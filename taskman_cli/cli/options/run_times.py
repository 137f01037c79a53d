"""The option `--runs` of `simulate`: where run times come from, and those that are given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import click

from taskman_cli.cli.options.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The words that stand for the ledger, and for not looking at it.
HISTORY, NONE = "history", "none"
_GIVEN = re.compile(r"(?P<name>[^=]+)=(?P<duration>.*)", re.DOTALL)


class RunTimes(NamedTuple):
    """What all the values of the option say together."""

    #: Run times in nanoseconds, by job, or by "JOB.TASK".
    given: dict[str, int]
    #: Whether the ledger is to be looked at; None: if there is one.
    is_history_wanted: bool | None


def read_run_times(values: Iterable[str]) -> RunTimes:
    """Read the values of `--runs`. Raises click.BadParameter."""
    given: dict[str, int] = {}
    wanted: set[bool] = set()
    for value in values:
        if value in (HISTORY, NONE):
            wanted.add(value == HISTORY)
        elif match := _GIVEN.fullmatch(value):
            name = match["name"]
            if name in given:
                raise _bad(f'the run time of "{name}" is given twice')
            given[name] = _duration(name, match["duration"])
        else:
            raise _bad(f'"{value}" is neither {HISTORY}, {NONE}, nor JOB=DURATION such as backup=20m')
    if len(wanted) > 1:
        raise _bad(f"give {HISTORY} or {NONE}, not both")
    return RunTimes(given, wanted.pop() if wanted else None)


def _duration(name: str, text: str) -> int:
    try:
        return Duration().convert(text, None, None)
    except click.BadParameter as error:
        raise _bad(f"{name}: {error.message}") from error


def _bad(words: str) -> click.BadParameter:
    from taskman_cli.core.escapes import printable

    return click.BadParameter(printable(words), param_hint="--runs")
