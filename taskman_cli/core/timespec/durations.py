"""Durations as people write them: "1h30m", "2d", "250ms", "5 Hours", "1h30".

Case does not matter, except for "M": it could mean months, or a million.
"""

from __future__ import annotations

import itertools
import re
from datetime import timedelta

from taskman_cli.errors import TimespecError

#: Units of a duration in nanoseconds, in the order in which they must come.
UNITS_NS = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
}

#: Words for the same units.
UNIT_WORDS = {
    "w": ("weeks", "week", "wks", "wk"),
    "d": ("days", "day"),
    "h": ("hours", "hour", "hrs", "hr"),
    "m": ("minutes", "minute", "mins", "min"),
    "s": ("seconds", "second", "secs", "sec"),
    "ms": ("milliseconds", "millisecond", "msecs", "msec"),
}
_UNITS = {unit: unit for unit in UNITS_NS} | {
    word: unit for unit, words in UNIT_WORDS.items() for word in words
}


def _in_any_case(word: str) -> str:
    """Return a case-insensitive pattern of a unit; JSON Schema has no flags for patterns."""
    return word if word == "m" else "".join(f"[{letter}{letter.upper()}]" for letter in word)


_UNIT_PATTERN = "|".join(map(_in_any_case, sorted(_UNITS, key=len, reverse=True)))
#: "1h30": minutes without a unit. From ten hours on it is a time of day, as in at(1): "16h30".
_HOURS_AND_MINUTES = "[0-9][hH][0-5][0-9]"
#: Matches all durations, valid or not in the order of units and in size.
PATTERN = rf"(?:[0-9]+(?:\.[0-9]+)?[ \t]*(?:{_UNIT_PATTERN})[ \t]*)+|{_HOURS_AND_MINUTES}"

_EXPECTED = 'a duration is one or more numbers with units, such as "90s", "1h30m", "2d" or "250ms"'
_MAX_DAYS = timedelta.max.days
#: More digits would overflow, or be finer than a microsecond.
_MAX_DIGITS = 20
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_UNIT = re.compile(r"[ \t]*([^\W\d_]+)")
_BLANKS = re.compile(r"[ \t]*")
_BARE_MINUTES = re.compile(_HOURS_AND_MINUTES)
_PAIR = re.compile(rf"([0-9]+)[ \t]*({_UNIT_PATTERN})[ \t]*")
_CLOCK = re.compile(r"([0-9]{1,4}):([0-9]{2})(?::([0-9]{2}))?")
#: The unit to suggest for a number without one, by the preceding unit.
_FOLLOWING = dict(itertools.pairwise(UNITS_NS))


def parse_duration(text: str) -> timedelta:
    """Read "90s", "1h30m", "2d", "1.5h", "250ms", "5 hours" or "1h30".

    Units come in decreasing order, each at most once; only the last number may have a fraction.
    """
    if not text.strip():
        raise TimespecError(f"the duration is empty; {_EXPECTED}")
    if _BARE_MINUTES.fullmatch(text):
        return timedelta(hours=int(text[0]), minutes=int(text[2:]))
    total_ns = 0
    position = 0
    last_unit = ""
    while position < len(text):
        number = _NUMBER.match(text, position)
        if number is None:
            raise TimespecError(_explain_number(text, position), column=position)
        word = _unit_word(text, number, after=last_unit)
        unit = _UNITS[word[1].lower()]
        _check_order(text, unit, after=last_unit, column=word.start(1))
        total_ns += _amount_ns(number, unit)
        last_unit, position = unit, word.end()
        if position < len(text):
            position = _next_number(text, position, fraction=number[2])
    try:
        return timedelta(microseconds=total_ns // 1000)
    except OverflowError:
        raise TimespecError(f"the duration is too long; the longest is {_MAX_DAYS}d") from None


def format_duration(duration: timedelta | int) -> str:
    """Write a duration, or a number of nanoseconds, exactly and without zeros: "1h30m", "2d", "1.5s"."""
    rest_ns = duration if isinstance(duration, int) else duration // timedelta(microseconds=1) * 1000
    if rest_ns < 0:
        return "-" + format_duration(-rest_ns)
    if rest_ns == 0:
        return "0s"
    if rest_ns % UNITS_NS["w"] == 0:
        return f"{rest_ns // UNITS_NS['w']}w"
    parts = []
    for unit in ("d", "h", "m"):
        count, rest_ns = divmod(rest_ns, UNITS_NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if rest_ns:
        unit = "s" if rest_ns >= UNITS_NS["s"] else "ms"
        whole, fraction_ns = divmod(rest_ns, UNITS_NS[unit])
        digits = len(str(UNITS_NS[unit])) - 1
        fraction = f".{fraction_ns:0{digits}}".rstrip("0.") if fraction_ns else ""
        parts.append(f"{whole}{fraction}{unit}")
    return "".join(parts)


def format_rough(duration_ns: int) -> str:
    """Write a duration in two or three figures, rounded down: "80ms", "2.4s", "1h30m", "3d4h"."""
    duration_ns = abs(duration_ns)
    if duration_ns < UNITS_NS["s"]:
        return f"{duration_ns // UNITS_NS['ms']}ms"
    if duration_ns < UNITS_NS["m"]:
        return f"{duration_ns // (UNITS_NS['s'] // 10) / 10:g}s"
    grain_ns = UNITS_NS["s"]
    if duration_ns >= UNITS_NS["d"]:
        grain_ns = UNITS_NS["d"] if duration_ns >= 100 * UNITS_NS["d"] else UNITS_NS["h"]
    elif duration_ns >= UNITS_NS["h"]:
        grain_ns = UNITS_NS["m"]
    days, rest_ns = divmod(duration_ns // grain_ns * grain_ns, UNITS_NS["d"])
    # Not in weeks, unlike format_duration.
    return (f"{days}d" if days else "") + (format_duration(rest_ns) if rest_ns else "")


def _unit_word(text: str, number: re.Match[str], *, after: str) -> re.Match[str]:
    """Return the match of a number's unit, its only group; `after` is the preceding unit."""
    match = _UNIT.match(text, number.end())
    if match is None:
        raise TimespecError(_explain_missing_unit(text, number, after), column=number.end())
    word, column = match[1], match.start(1)
    if word == "M" or not word.isascii() or word.lower() not in _UNITS:
        raise TimespecError(
            f'"{word[:20]}" is not one of the units {" ".join(UNITS_NS)}{_unit_hint(word)}', column=column
        )
    return match


def _unit_hint(word: str) -> str:
    if word == "M":
        return ' (did you mean "m"?)'
    if word.lower() in ("mo", "month", "months", "y", "yr", "yrs", "year", "years"):
        return ": months and years differ in length, so use days"
    from taskman_cli.core.nearest import nearest  # imported late: only errors need it

    near = nearest(word[:20].lower(), _UNITS)
    return f' (did you mean "{near}"?)' if near else ""


def _explain_missing_unit(text: str, number: re.Match[str], after: str) -> str:
    if strange := _strange(text, number.end()):
        return strange
    if clock := _CLOCK.fullmatch(text):
        first, second, third = clock.groups()
        if third:
            return f'write the units: "{first}h{second}m{third}s"'
        return f'write the units: "{first}h{second}m" or "{first}m{second}s"'
    unit = _FOLLOWING.get(after, "s")
    name = UNIT_WORDS[unit][0]
    return f'add a unit to the number: "{number[0][:20]}{unit}" is {name}'


def _check_order(text: str, unit: str, *, after: str, column: int) -> None:
    if not after or UNITS_NS[unit] < UNITS_NS[after]:
        return
    if unit == after:
        raise TimespecError(f'"{unit}" is given twice', column=column)
    pairs = sorted(_PAIR.findall(text), key=lambda pair: -UNITS_NS[_UNITS[pair[1].lower()]])
    meant = "".join(f"{count[:20]}{_UNITS[word.lower()]}" for count, word in pairs)
    raise TimespecError(f'"{unit}" must come before "{after}": "{meant[:60]}"', column=column)


def _amount_ns(number: re.Match[str], unit: str) -> int:
    whole, fraction = number[1].lstrip("0"), (number[2] or "").rstrip("0")
    if len(whole) > _MAX_DIGITS:
        raise TimespecError(f"the duration is too long; the longest is {_MAX_DAYS}d", column=number.start())
    if len(fraction) > _MAX_DIGITS:
        raise TimespecError("finer than a microsecond", column=number.start())
    scale: int = 10 ** len(fraction)
    amount_ns, finer = divmod(int(f"{whole}{fraction}" or "0") * UNITS_NS[unit], scale)
    if finer or amount_ns % 1000:
        raise TimespecError("finer than a microsecond", column=number.start())
    return amount_ns


def _next_number(text: str, position: int, *, fraction: str | None) -> int:
    """Return where the next number starts, after spaces."""
    blanks = _BLANKS.match(text, position)
    assert blanks is not None  # it also matches ""
    if fraction is not None and blanks.end() < len(text):
        raise TimespecError("only the last number may have a fraction", column=position)
    return blanks.end() if blanks.end() < len(text) else position


def _explain_number(text: str, position: int) -> str:
    found = text[position]
    if found == "-":
        return "a duration cannot be negative"
    if found == "+":
        return "a duration has no sign: remove the +"
    if found in " \t":
        return f"unexpected space; {_EXPECTED}"
    if strange := _strange(text, position):
        return strange
    return f'a number is missing before "{text[position : position + 20]}"; {_EXPECTED}'


def _strange(text: str, position: int) -> str:
    """Explain a character that only looks like an ASCII one; else ""."""
    from taskman_cli.core.lookalikes import find_look_alike  # imported late: only errors need it

    found = find_look_alike(text[position : position + 1])
    return f"{found.name} does not belong in a duration: {found.fix}" if found else ""
