"""Types of arguments that several commands share, and the error for unknown names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from taskman_cli.cli.options.moment import bad_time
from taskman_cli.core.timespec import is_relative, parse_moment
from taskman_cli.errors import NotFound, ScheduleError, TimespecError

if TYPE_CHECKING:
    from collections.abc import Iterable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: Python refuses numbers with thousands of digits; SQLite takes 18 digits for certain.
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
#: The last instant that SQLite, and so the ledger, can hold: in the year 2262.
_LAST_NS = (1 << 63) - 1
_OFFSET = re.compile(r"[0-9](?:[Zz]|[+-][0-9:]+)", re.ASCII)
_SINCE = 'give a duration such as "2h" for two hours ago, or a time such as "2026-12-24T15:00"'
#: An error with one of these already says what to write.
_ADVICE = re.compile("did you mean|write|; ")


class WholeNumber(click.ParamType[int]):
    """A whole number within bounds."""

    name = "number"

    def __init__(self, *, least: int = 0, most: int | None = None) -> None:
        self._least = least
        self._most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the digits, or fail and name the bounds."""
        text = str(value)
        if (
            _DIGITS.fullmatch(text)
            and self._least <= int(text)
            and (not self._most or int(text) <= self._most)
        ):
            return int(text)
        from taskman_cli.core.escapes import quoted

        bounds = f"of at least {self._least}" if self._most is None else f"from {self._least} to {self._most}"
        self.fail(f"{quoted(text)} is not a whole number {bounds}", param, ctx)


def since_ns(text: str, *, now_ns: int, zone: ZoneInfo | None = None) -> int:
    """Read a time in the past, in any form that `core.timespec` reads; a duration means how long ago.

    A time without an offset is in `zone`; None: the machine's. Raises click.BadParameter.
    """
    try:
        used: tzinfo = zone or (UTC if _needs_no_zone(text) else _machine_zone())
        now = (_EPOCH + timedelta(microseconds=now_ns // 1_000)).astimezone(used)
        found_ns = (parse_moment(text, now=now, prefer="past") - _EPOCH) // _MICROSECOND * 1_000
        return max(-_LAST_NS, min(found_ns, _LAST_NS))
    except TimespecError as error:
        fix = "" if _ADVICE.search(str(error)) else f"; {_SINCE}"
        raise bad_time(error, text, option="--since", fix=fix) from error
    except ScheduleError as error:  # TZ is invalid
        raise click.BadParameter(f"{error}: give the time with an offset", param_hint="--since") from error


def _needs_no_zone(text: str) -> bool:
    """Tell if a time can be read without the machine's zone, which takes an import."""
    return is_relative(text) or bool(_OFFSET.search(text, 11))


def _machine_zone() -> ZoneInfo:
    from taskman_cli.jobfile.settings import local_zone

    return local_zone()


def not_found(what: str, word: str, known: Iterable[str]) -> NotFound:
    """Return the error for an unknown name, with the nearest known name, or all of them if they are few."""
    from taskman_cli.core.escapes import quoted
    from taskman_cli.core.nearest import meant_or_known

    return NotFound(f"{what} {quoted(word)}{meant_or_known(word, known)}")
