"""A whole cron expression: its fields and @words. No time zones and no searching here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.core.schedule.fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    YEAR,
    Field,
    FieldKind,
    parse_field,
)
from taskman_cli.errors import ScheduleError

#: The word for "when the scheduler starts"; it has no times.
REBOOT = "@reboot"

#: The other @words with their fields.
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: @words of other programs, with what to write instead.
_OTHER_WORDS = {
    "@minutely": '"* * * * *"',
    "@everyminute": '"* * * * *"',
    "@secondly": '"* * * * * *"',
    "@everysecond": '"* * * * * *"',
    "@nightly": '"@daily"',
    "@noon": '"0 12 * * *"',
    "@weekdays": '"0 0 * * MON-FRI"',
    "@workdays": '"0 0 * * MON-FRI"',
    "@weekends": '"0 0 * * SAT,SUN"',
    "@quarterly": '"0 0 1 */3 *"',
    "@biweekly": 'every = "2w"',
    "@fortnightly": 'every = "2w"',
    "@boot": '"@reboot"',
    "@startup": '"@reboot"',
    "@start": '"@reboot"',
}
#: The word for an interval, with its length.
EVERY = re.compile(r"@every(?:[ \t]+(?P<every>.*))?", re.IGNORECASE)

_FIVE = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
_HASHED_FIELD = re.compile(r"(?:^|[ \t,])[Hh](?=[ \t(/,]|$)")
#: Only a year has four digits.
_YEAR = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])")
_ZONE = re.compile(r"(?:CRON_)?TZ=(?P<zone>[^ ]*)(?: (?P<rest>.*))?")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed cron expression."""

    text: str
    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    #: None: every year.
    year: Field | None
    #: Whether the seconds are written, rather than 0.
    has_second: bool
    #: A time-of-day field starts with `*`, which decides what happens at clock changes.
    is_wildcard: bool


def has_hash(expression: str) -> bool:
    """Tell whether the expression has `H`, so that it depends on the job's name."""
    # The cheap first test suffices for nearly all of a hundred thousand jobs.
    return ("H" in expression or "h" in expression) and _HASHED_FIELD.search(expression) is not None


def clean(expression: str) -> str:
    """Return the expression with single spaces between its fields, and @words in lower case."""
    # As in a crontab, tabs count as spaces.
    text = " ".join(re.split(r"[ \t]+", expression.strip(" \t")))
    return text.lower() if text.startswith("@") and text.lower() in (*WORDS, REBOOT) else text


def parse_expression(expression: str, *, name: str) -> Expression:
    """Parse a cleaned expression other than `@reboot`; `name` is what `H` is hashed from."""
    columns = split_fields(expression)
    fields = {kind: parse_field(text, kind, name=name) for kind, text in columns.items()}
    year = fields.get(YEAR)
    second = fields.get(SECOND) or parse_field("0", SECOND, name="")
    minute, hour = fields[MINUTE], fields[HOUR]
    return Expression(
        text=expression,
        second=second,
        minute=minute,
        hour=hour,
        day=fields[DAY],
        month=fields[MONTH],
        weekday=fields[WEEKDAY],
        year=None if year is None or year.text == "*" else year,
        has_second=SECOND in fields,
        is_wildcard=second.is_star or minute.is_star or hour.is_star,
    )


def split_fields(expression: str) -> dict[FieldKind, str]:
    """Split a cleaned expression other than `@reboot` into its fields, in order; raises ScheduleError."""
    texts = _texts(expression)
    return dict(zip(_kinds(texts), texts, strict=True))


def _kinds(texts: list[str]) -> tuple[FieldKind, ...]:
    """Return the kinds of five, six or seven fields: six have a year if the last has four digits."""
    if len(texts) == 6:
        return (*_FIVE, YEAR) if _YEAR.search(texts[-1]) else (SECOND, *_FIVE)
    return _FIVE if len(texts) == 5 else (SECOND, *_FIVE, YEAR)


def place_of(error: ScheduleError, expression: str) -> tuple[int, int]:
    """Return offset and length of the fault in a cleaned expression."""
    words = expression.split(" ")
    titles = [kind.title for kind in _kinds(words)] if len(words) in (5, 6, 7) else []
    if error.field not in titles:
        return 0, len(expression)
    index = titles.index(error.field)
    start = sum(len(word) + 1 for word in words[:index])
    # As a whole item of the list, not the end of a longer word.
    items = words[index].split(",")
    if error.item not in items:
        return start, len(words[index])
    return start + sum(len(item) + 1 for item in items[: items.index(error.item)]), max(1, len(error.item))


def place_in(error: ScheduleError, text: str) -> tuple[int, int]:
    """Return offset and length of the fault in an expression as written, with all its spaces."""
    start, length = place_of(error, clean(text))
    # The original offset of each character of the cleaned expression; a space follows its word.
    places: list[int] = []
    for word in re.finditer(r"[^ \t]+", text):
        places += range(word.start(), word.end() + 1)
    if not length or start + length > len(places):
        return 0, len(text)
    return places[start], places[start + length - 1] + 1 - places[start]


def _texts(expression: str) -> list[str]:
    """Split into five, six or seven texts."""
    if not expression:
        raise ScheduleError("the cron expression is empty")
    if expression.startswith("@"):
        if expression not in WORDS:
            raise ScheduleError(_explain_word(expression))
        return WORDS[expression].split()
    if strange := re.search(r"[^!-~ ]", expression):
        raise ScheduleError(_explain_character(strange[0]))
    if zone := _ZONE.fullmatch(expression):
        rest = zone["rest"] or "30 2 * * *"
        raise ScheduleError(
            f"a cron expression has no time zone; write timezone = {quoted_ascii(zone['zone'])} and "
            f"cron = {quoted_ascii(rest)}"
        )
    texts = expression.split(" ")
    if len(texts) not in (5, 6, 7):
        count = "1 field" if len(texts) == 1 else f"{len(texts)} fields"
        raise ScheduleError(
            f"{quoted_ascii(expression)} has {count}; a cron expression has 5 (minute, hour, day of month, "
            "month, day of week), and may have a second before and a year after them"
        )
    return texts


def _explain_character(char: str) -> str:
    from taskman_cli.core.lookalikes import hint  # imported late: only errors need it

    return f"the cron expression has an invalid character: {quoted_ascii(char)}{hint(char)}"


def _explain_word(expression: str) -> str:
    return f"{quoted_ascii(expression)} is not one of {' '.join((*WORDS, REBOOT))}{word_hint(expression)}"


def word_hint(word: str) -> str:
    """Suggest what to write for an unknown @word, or return ""."""
    from taskman_cli.core.nearest import nearest  # imported late: only errors need it

    ours = _OTHER_WORDS.get(word.lower().replace("_", "").replace("-", ""))
    if ours is not None:
        return f" (write {ours})"
    near = nearest(word, (*WORDS, REBOOT))
    return f' (did you mean "{near}"?)' if near else ""
