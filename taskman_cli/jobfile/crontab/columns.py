"""The time columns of a crontab line: an @word, five columns, or with supercronic up to seven."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.lookalikes import find_look_alike
from taskman_cli.core.schedule import ScheduleError, parse_cron
from taskman_cli.core.schedule.expression import EVERY, REBOOT, WORDS, word_hint
from taskman_cli.core.schedule.fields import DAY, SECOND, WEEKDAY, YEAR
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.fields import KINDS, BadField, read_debian
from taskman_cli.jobfile.crontab.otherfields import read_busybox, read_cronie, read_supercronic

if TYPE_CHECKING:
    from collections.abc import Sequence

BLANKS = " \t"

_TOKEN = re.compile(r"[^ \t]+")
#: The columns of nearly all lines are shorter than this in total.
_USUAL = 200
_READERS = {
    Dialect.DEBIAN: read_debian,
    Dialect.CRONIE: read_cronie,
    Dialect.BUSYBOX: read_busybox,
    Dialect.SUPERCRONIC: read_supercronic,
}
_UNLOGGED = re.compile(r"-[0-9*@]")
_SUPERCRONIC_WORDS = tuple(word for word in WORDS if word != "@midnight")


class BadText(Exception):
    """A line is invalid: why, and at which column, from 1, and for how many characters."""

    def __init__(self, error: str, at: int, length: int) -> None:
        super().__init__(error)
        self.found = error, at + 1, max(length, 1)


@dataclass(frozen=True, slots=True)
class LineSchedule:
    """How cron reads the columns of a line."""

    #: The same in taskman's grammar; None: never.
    expression: str | None
    #: What cron ignores or what never matches, in words.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeColumns:
    """The time columns of a line."""

    #: As written, with single spaces.
    text: str
    schedule: LineSchedule
    #: Where the rest of the line starts.
    rest_at: int


def read_time(line: str, begin: int, dialect: Dialect) -> TimeColumns:
    """Read the time columns of a line from `begin` on; raises BadText."""
    if dialect is Dialect.CRONIE and line.startswith("-", begin):
        begin += 1  # cronie does not log such a line
    if line.startswith("@", begin):
        return _word(line, begin, dialect)
    if dialect is Dialect.SUPERCRONIC:
        return _most(line, begin)
    return _five(line, begin, dialect)


def _word(line: str, begin: int, dialect: Dialect) -> TimeColumns:
    tokens = [match for match, _ in zip(_TOKEN.finditer(line, begin), range(2), strict=False)]
    word = tokens[0][0]
    if dialect is Dialect.SUPERCRONIC and word == "@every":
        return _every(line, tokens)
    words = _SUPERCRONIC_WORDS if dialect is Dialect.SUPERCRONIC else (*WORDS, REBOOT)
    if word not in words:
        hint = word_hint(word)
        if EVERY.fullmatch(word):
            hint = ": only supercronic has intervals (--dialect supercronic); in a job file, use every"
        elif word in (*WORDS, REBOOT):
            hint = ": supercronic does not have it"
        raise _bad(
            BadField(0, f"{quoted(word)} is not one of {' '.join(words)}{hint}"), line, begin, tokens[:1]
        )
    return _found(line, tokens[:1], LineSchedule(word))


def _every(line: str, tokens: list[re.Match[str]]) -> TimeColumns:
    """Read the interval of supercronic: `@every 1h30m`."""
    text = " ".join(token[0] for token in tokens)
    try:
        parse_cron(text, timezone="UTC")
    except ScheduleError as error:
        raise BadText(str(error), tokens[0].start(), tokens[-1].end() - tokens[0].start()) from None
    return _found(line, tokens, LineSchedule(text))


def _five(line: str, begin: int, dialect: Dialect) -> TimeColumns:
    tokens = [match for match, _ in zip(_TOKEN.finditer(line, begin), range(5), strict=False)]
    texts = [match[0] for match in tokens]
    if not texts:  # nothing follows the - of cronie
        raise BadText(_too_few(texts), begin - 1, 1)
    try:
        if len(texts) < 5:
            # The first wrong column is more helpful than a count.
            read_columns((*texts, *"*****")[:5], dialect)
            raise BadText(_too_few(texts), begin, tokens[-1].end() - begin)
        return _found(line, tokens, read_columns(tuple(texts), dialect))
    except BadField as bad:
        raise _bad(bad, line, begin, tokens) from None


def _most(line: str, begin: int) -> TimeColumns:
    """Read seven, six or five columns: the most that supercronic can read, before a command."""
    found = [match for match, _ in zip(_TOKEN.finditer(line, begin), range(8), strict=False)]
    for count in (7, 6):
        if len(found) > count:
            try:
                texts = tuple(token[0] for token in found[:count])
                return _found(line, found[:count], read_columns(texts, Dialect.SUPERCRONIC))
            except BadField:
                continue
    return _five(line, begin, Dialect.SUPERCRONIC)


def _found(line: str, tokens: Sequence[re.Match[str]], schedule: LineSchedule) -> TimeColumns:
    end = tokens[-1].end()
    rest = line[end:]
    return TimeColumns(
        " ".join(token[0] for token in tokens), schedule, end + len(rest) - len(rest.lstrip(BLANKS))
    )


def _bad(bad: BadField, line: str, begin: int, tokens: Sequence[re.Match[str]]) -> BadText:
    if strange := find_look_alike(line[begin : tokens[-1].end()]):
        message = f"{strange.name} in the schedule: {strange.fix}"
        return BadText(message, begin + strange.offset, 1)
    token = tokens[min(bad.index, len(tokens) - 1)]
    message = _unclosed(line[begin:]) or bad.message
    if line.startswith("-", begin) and token.start() == begin and _UNLOGGED.match(line, begin):
        message = "a - before the minute is cronie's: read the file with --dialect cronie"
    return BadText(message, token.start(), len(token[0]))


def _too_few(texts: list[str]) -> str:
    count = "1 column" if len(texts) == 1 else f"{len(texts)} columns"
    needed = "five (minute, hour, day of month, month, day of week) or an @word"
    return f"only {count} for the time: a line needs {needed}"


def _unclosed(line: str) -> str:
    """Say why a line that looks like an assignment is not valid; else ""."""
    match = re.match(r"[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*(.*)", line)
    if match is None:
        return ""
    name = line.split("=", 1)[0].strip()
    if not match[1]:
        return f'the value is missing: to set an empty value, write {name}=""'
    return "not a valid assignment: quotes must enclose the whole value"


# --- columns ---


def read_columns(texts: tuple[str, ...], dialect: Dialect) -> LineSchedule:
    """Read five to seven columns; raises BadField for the first one that the dialect rejects."""
    # Many lines share their columns; unusually long ones are not cached.
    return _read_known(texts, dialect) if sum(map(len, texts)) < _USUAL else _read_columns(texts, dialect)


def _read_columns(texts: tuple[str, ...], dialect: Dialect) -> LineSchedule:
    read = _READERS[dialect]
    kinds = {5: KINDS, 6: (*KINDS, YEAR), 7: (SECOND, *KINDS, YEAR)}[len(texts)]
    pairs = enumerate(zip(texts, kinds, strict=True))
    columns = {kind: read(index, text, kind) for index, (text, kind) in pairs}
    notes = tuple(column.note for column in columns.values() if column.note)
    day, weekday = columns[DAY], columns[WEEKDAY]
    others = [column for kind, column in columns.items() if kind not in (DAY, WEEKDAY)]
    if not all(column.text for column in others) or not (day.text or weekday.text):
        return _never(texts, notes)
    if not (day.text and weekday.text) and (day.is_star or weekday.is_star):
        return _never(texts, notes)
    words = {kind: column.text for kind, column in columns.items()}
    # Either day may match, and if one never does, only the other counts.
    words |= {kind: words[kind] or "*" for kind in (DAY, WEEKDAY)}
    if words.get(YEAR) == "*":
        del words[YEAR]
    expression = " ".join(words.values())
    try:
        parse_cron(expression, timezone="UTC")
    except ScheduleError:
        return _never(texts, notes)
    return LineSchedule(expression, notes)


_read_known = lru_cache(maxsize=1024)(_read_columns)


def _never(texts: Sequence[str], notes: tuple[str, ...]) -> LineSchedule:
    return LineSchedule(None, (*notes, f"{quoted(' '.join(texts))} never matches: this line never runs"))
