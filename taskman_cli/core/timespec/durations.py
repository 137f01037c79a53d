"""Durations as people write them: "1h30m", "2d", "250ms"."""

from __future__ import annotations

import re
from datetime import timedelta

from taskman_cli.errors import TimespecError

#: Units of a duration in nanoseconds, in the order in which they must stand.
UNITS_NS = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
}

_EXPECTED = 'a duration is numbers with units, such as "90s", "1h30m", "2d" or "250ms"'
_MAX_DAYS = timedelta.max.days
#: No digit after these matters: the whole part would overflow, the fraction be finer than a microsecond.
_MAX_DIGITS = 20
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_UNIT = re.compile(r"[^\W\d_]+")
_BLANKS = re.compile(r"[ \t]*")


def parse_duration(text: str) -> timedelta:
    """Read "90s", "1h30m", "2d", "1.5h" or "250ms".

    Units stand in decreasing order, each at most once; only the last number may have a fraction.
    """
    if not text.strip():
        raise TimespecError(f"the duration is empty; {_EXPECTED}")
    total_ns = 0
    position = 0
    last_unit = ""
    while position < len(text):
        number = _NUMBER.match(text, position)
        if number is None:
            raise TimespecError(_explain_number(text, position), column=position)
        unit = _unit(text, number)
        _check_order(unit, after=last_unit, column=number.end())
        total_ns += _amount_ns(number, unit)
        last_unit = unit
        position = number.end() + len(unit)
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
    """Say how long in two or three figures, rounded down: "80ms", "2.4s", "1h30m", "3d4h"."""
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
    # Not in weeks, which format_duration writes where they come out even.
    return (f"{days}d" if days else "") + (format_duration(rest_ns) if rest_ns else "")


def _unit(text: str, number: re.Match[str]) -> str:
    """Return the unit that follows a number."""
    position = number.end()
    match = _UNIT.match(text, position)
    if match is None:
        raise TimespecError(f'add a unit to the number: "{number[0][:20]}s" is seconds', column=position)
    unit = match[0]
    if unit not in UNITS_NS:
        hint = f' (did you mean "{unit.lower()}"?)' if unit.lower() in UNITS_NS else ""
        raise TimespecError(
            f'"{unit[:20]}" is not one of the units {" ".join(UNITS_NS)}{hint}', column=position
        )
    return unit


def _check_order(unit: str, *, after: str, column: int) -> None:
    if after and UNITS_NS[unit] >= UNITS_NS[after]:
        problem = "stands twice" if unit == after else f'has to stand before "{after}"'
        raise TimespecError(f'"{unit}" {problem}', column=column)


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
    """Return where the next number begins, after blanks."""
    blanks = _BLANKS.match(text, position)
    assert blanks is not None  # it matches nothing, too
    if fraction is not None and blanks.end() < len(text):
        raise TimespecError("only the last number may have a fraction", column=position)
    return blanks.end() if blanks.end() < len(text) else position


def _explain_number(text: str, position: int) -> str:
    found = text[position]
    if found == "-":
        return "a duration cannot be negative"
    if found in " \t":
        return f"a blank too many; {_EXPECTED}"
    return f'a number is missing before "{text[position : position + 20]}"; {_EXPECTED}'
