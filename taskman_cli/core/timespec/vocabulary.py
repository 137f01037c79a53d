"""The words of a time specification: text -> tokens, as in at(1) (its parsetime.l).

Case does not matter and spaces are optional ("4pmtomorrow"): the longest matching word counts. Unlike at(1),
taskman also knows small words ("in", "at", "on", "this", "ago"), short units and ordinals.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.errors import TimespecError

#: Unknown words are cut at this many characters in a message.
_LONGEST_SHOWN = 40


class Kind(Enum):
    """The kind of a token."""

    NOW = auto()
    NEXT = auto()
    THIS = auto()
    #: "in", before a length of time.
    IN = auto()
    #: "at", before a time of day.
    AT = auto()
    #: "on", before a day.
    ON = auto()
    AGO = auto()
    #: "from", before "now".
    FROM = auto()
    TONIGHT = auto()
    UTC = auto()
    #: "am", "pm".
    HALF = auto()
    #: "noon", "midnight", "teatime".
    HOUR_NAME = auto()
    #: "today", "tomorrow", "yesterday".
    RELATIVE_DAY = auto()
    WEEKDAY = auto()
    MONTH = auto()
    PERIOD = auto()
    #: "4:30", also "4h30", "4.30", "4,30", "4'30".
    HOUR_MINUTE = auto()
    HOUR_MINUTE_SECOND = auto()
    #: "31.12.26".
    DOTTED_DATE = auto()
    #: "2026-12-31".
    HYPHEN_DATE = auto()
    DIGITS = auto()
    #: "1st"; the value is the number.
    ORDINAL = auto()
    #: "+", "-", "/" and ",".
    SIGN = auto()
    END = auto()


class Token(NamedTuple):
    """A word and its column."""

    kind: Kind
    #: In lower case.
    text: str
    #: Counts from 0.
    column: int
    #: The number of a month (1 to 12), a weekday (0 is Monday), a half of the day (1 is "pm"), an hour's name
    #: (its hour) or a relative day (how many after today).
    value: int = 0


_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PERIODS = ("minute", "hour", "day", "week", "month", "year")

#: Each word with its kind and value.
_WORDS: dict[str, tuple[Kind, int]] = {
    "now": (Kind.NOW, 0),
    "next": (Kind.NEXT, 0),
    "this": (Kind.THIS, 0),
    "in": (Kind.IN, 0),
    "at": (Kind.AT, 0),
    "on": (Kind.ON, 0),
    "ago": (Kind.AGO, 0),
    "from": (Kind.FROM, 0),
    "tonight": (Kind.TONIGHT, 0),
    "utc": (Kind.UTC, 0),
    "am": (Kind.HALF, 0),
    "pm": (Kind.HALF, 1),
    "midnight": (Kind.HOUR_NAME, 0),
    "noon": (Kind.HOUR_NAME, 12),
    "teatime": (Kind.HOUR_NAME, 16),
    "yesterday": (Kind.RELATIVE_DAY, -1),
    "today": (Kind.RELATIVE_DAY, 0),
    "tomorrow": (Kind.RELATIVE_DAY, 1),
    "min": (Kind.PERIOD, 0),
    **{name: (Kind.PERIOD, 0) for period in _PERIODS for name in (period, period + "s")},
    **{name: (Kind.WEEKDAY, n) for n, day in enumerate(_WEEKDAYS) for name in (day, day[:3])},
    **{name: (Kind.MONTH, n) for n, month in enumerate(_MONTHS, 1) for name in (month, month[:3])},
    "tues": (Kind.WEEKDAY, 1),
    "weds": (Kind.WEEKDAY, 2),
    "thur": (Kind.WEEKDAY, 3),
    "thurs": (Kind.WEEKDAY, 3),
    "sept": (Kind.MONTH, 9),
}
#: Abbreviations of periods that count only after a number.
_SHORT_PERIODS = frozenset({"m", "mins", "h", "hr", "hrs", "d", "w", "wk", "wks", "mo", "y", "yr", "yrs"})
_ORDINAL = re.compile(r"([0-9]{1,2})(st|nd|rd|th)(?![a-z])", re.IGNORECASE)

#: The longest match counts; no pattern ends within a number.
_NUMBERS = {
    Kind.HOUR_MINUTE_SECOND: re.compile(r"[012]?[0-9]:[0-9]{2}:[0-9]{2}(?![0-9])"),
    Kind.DOTTED_DATE: re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2}(?:[0-9]{2})?(?![0-9])"),
    Kind.HYPHEN_DATE: re.compile(r"[0-9]{2}(?:[0-9]{2})?-[0-9]{1,2}-[0-9]{1,2}(?![0-9])"),
    # In "2h30m" the minutes have a unit, so it is a duration.
    Kind.HOUR_MINUTE: re.compile(
        r"[012]?[0-9](?:[:',.][0-9]{2}|[hH][0-9]{2}(?![ \t]*m(?:in(?:ute)?s?)?(?![a-z])))(?![0-9])",
        re.IGNORECASE,
    ),
    Kind.DIGITS: re.compile(r"[0-9]+"),
}
_LETTERS = re.compile(r"[A-Za-z]+")
_WORD = re.compile("|".join(sorted(_WORDS, key=len, reverse=True)))
_BLANKS = re.compile(r"[ \t\r\n]*")
_SIGNS = "+-/,"
_NUMERALS = "one two three four five six seven eight nine ten eleven twelve"
#: Words that are not supported, with what to write instead.
_HINTS = {
    "s": 'for seconds write a duration, such as "90s"',
    "sec": 'for seconds write a duration, such as "90s"',
    "secs": 'for seconds write a duration, such as "90s"',
    "second": 'for seconds write a duration, such as "90s"',
    "seconds": 'for seconds write a duration, such as "90s"',
    "of": 'remove "of"',
    "the": 'remove "the"',
    "last": "write the date",
    "every": 'a time does not repeat; for that, define a job with "cron" or "every"',
    "a": 'write 1 instead, or "am" after an hour',
    "an": "write 1 instead",
    **{word: f"write {number}" for number, word in enumerate(_NUMERALS.split(), 1)},
    **dict.fromkeys(("morning", "afternoon", "evening"), 'write the time of day, such as "9am"'),
    "p": 'did you mean "pm"?',
    "gmt": 'did you mean "UTC"?',
    "z": 'did you mean "UTC"?',
    "m": 'did you mean "minutes" or "months"?',
    "h": 'did you mean "hours"?',
    "d": 'did you mean "days"?',
    "w": 'did you mean "weeks"?',
    "y": 'did you mean "years"?',
}


def read_words(text: str) -> list[Token]:
    """Split a time specification into tokens; the last one is END."""
    tokens: list[Token] = []
    column = _after_blanks(text, 0)
    while column < len(text):
        if ordinal := _ORDINAL.match(text, column):
            found = [_ordinal(ordinal)]
        elif letters := _LETTERS.match(text, column):
            word = letters[0].lower()
            has_number = bool(tokens) and tokens[-1].kind is Kind.DIGITS
            is_unit = has_number and word in _SHORT_PERIODS
            found = [Token(Kind.PERIOD, word, column)] if is_unit else _split(word, column, has_number)
        elif text[column] in _SIGNS:
            found = [Token(Kind.SIGN, text[column], column)]
        else:
            found = [_number(text, column)]
        tokens += found
        column = _after_blanks(text, found[-1].column + len(found[-1].text))
    return [*tokens, Token(Kind.END, "", len(text))]


def month_name(number: int) -> str:
    """Return the English name of a month, independent of the locale."""
    return _MONTHS[number - 1].capitalize()


def _after_blanks(text: str, column: int) -> int:
    blanks = _BLANKS.match(text, column)
    assert blanks is not None  # it also matches ""
    return blanks.end()


def _split(letters: str, column: int, has_number: bool) -> list[Token]:
    """Split adjacent letters into words; `has_number`: a number precedes them."""
    tokens = []
    position = 0
    while position < len(letters):
        match = _WORD.match(letters, position)
        if match is None:
            word = quoted_ascii(letters, longest=_LONGEST_SHOWN)
            units = "; units are w d h m s ms" if has_number else ""
            raise TimespecError(
                f"{word} is not a known word for a time{_hint(letters) or units}", column=column
            )
        kind, value = _WORDS[match[0]]
        tokens.append(Token(kind, match[0], column + position, value))
        position = match.end()
    return tokens


def _ordinal(match: re.Match[str]) -> Token:
    """Read an ordinal such as "1st", with the correct suffix."""
    number = int(match[1])
    right = "th" if number // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    if match[2].lower() != right:
        raise TimespecError(f'did you mean "{number}{right}"?', column=match.start(2))
    return Token(Kind.ORDINAL, match[0].lower(), match.start(), number)


def _number(text: str, column: int) -> Token:
    matches = [(kind, match) for kind, pattern in _NUMBERS.items() if (match := pattern.match(text, column))]
    if not matches:
        from taskman_cli.core.lookalikes import hint  # imported late: only errors need it

        found = f"{quoted_ascii(text[column])} does not belong in a time{hint(text[column])}"
        raise TimespecError(found, column=column)
    kind, match = max(matches, key=lambda found: found[1].end())
    return Token(kind, match[0].lower(), column)


def _hint(word: str) -> str:
    """Suggest what was probably meant, or return ""."""
    if word in _HINTS:
        return f"; {_HINTS[word]}"
    from taskman_cli.core.nearest import nearest  # imported late: only errors need it

    near = nearest(word[:20], _WORDS)
    return f' (did you mean "{near}"?)' if near else ""
