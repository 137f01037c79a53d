"""A column of a crontab line as Debian's cron reads it (get_list, get_range, get_number in its entry.c).

cron silently ignores what follows a valid prefix: `1-5-7` is `1-5`, `FRI#2` is `FRI`. A backward range is
empty. taskman's own parser rejects both, so they are rewritten here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.lookalikes import find_look_alike
from taskman_cli.core.schedule import ScheduleError
from taskman_cli.core.schedule.fields import DAY, HOUR, MINUTE, MONTH, WEEKDAY, parse_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskman_cli.core.schedule.fields import FieldKind

#: The five columns, in their order.
KINDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)

_RANDOM = "a random value in a range is cronie's: read the file with --dialect cronie"
_WORD = re.compile(r"[0-9A-Za-z]*")
#: atoi(3) overflows beyond this.
_MAX_INT = 2**31 - 1
#: The columns of nearly all lines are shorter than this in total.
_USUAL = 200


class BadField(Exception):
    """A column is invalid; `index` says which."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message


@dataclass(frozen=True, slots=True)
class Column:
    """A column as cron reads it."""

    #: In taskman's grammar; "" if no value remains.
    text: str
    is_star: bool
    note: str = ""

    @classmethod
    def of(cls, text: str, kept: Sequence[str], kind: FieldKind, *, note: str) -> Column:
        """Return the column `text` of which these items remain."""
        is_star = text.startswith("*")
        if kept and kept[0].startswith("*") and not is_star:
            # A leading star would also change how the day fields combine.
            kept = [rows_of(parse_field(kept[0], kind, name="").values), *kept[1:]]
        return cls(",".join(kept), is_star, note)


def rows_of(values: Iterable[int]) -> str:
    """Write values as a list, with ranges for three or more in a row."""
    rows: list[list[int]] = []
    for value in sorted(values):
        if rows and value == rows[-1][-1] + 1:
            rows[-1].append(value)
        else:
            rows.append([value])
    return ",".join(f"{row[0]}-{row[-1]}" if len(row) > 2 else ",".join(map(str, row)) for row in rows)


def is_plain(text: str, kind: FieldKind) -> bool:
    """Tell whether cron reads a column as taskman's own grammar does."""
    try:
        return not read_debian(0, text, kind).note
    except BadField:
        return False


def read_debian(index: int, text: str, kind: FieldKind) -> Column:
    """Read a column from its start, as far as cron does."""
    if "~" in text:
        # cron reads "0~59" as "0", which nobody means.
        raise BadField(index, f"{kind.title} {quoted(text)}: {_RANDOM}")
    values: set[int] = set()
    kept: dict[str, None] = {}
    at = 0
    is_whole = True
    while True:
        begin = at
        first, last, step, at = _range(index, text, at, kind)
        values.update(range(first, last + 1, step))
        if first <= last:
            kept[text[begin:at]] = None
        else:
            is_whole = False
        if text[at : at + 1] != ",":
            break
        at += 1
    is_star = text.startswith("*")
    if is_whole and at == len(text):
        # Without duplicates it may be much shorter.
        return Column(text if at < _USUAL else ",".join(kept), is_star)
    read = ",".join(kept)
    if read.startswith("*") and not is_star:
        # A leading star would also change how the day fields combine.
        read = ",".join(map(str, sorted(values)))
    what = quoted(read) if read else "no value"
    return Column(
        read, is_star, f"cron reads {kind.title} {quoted(text)} as {what}{_suggestion(text, kind, read)}"
    )


def _suggestion(text: str, kind: FieldKind, read: str) -> str:
    """Suggest what to write for a column that cron reads only partly or not at all."""
    if strange := find_look_alike(text):
        return f", because of {strange.name}: {strange.fix}"
    return "" if read else f": the range runs backwards{_forwards(text, kind)}"


def _forwards(text: str, kind: FieldKind) -> str:
    """Suggest how to write a range that wraps around the end of its field, as taskman reads it."""
    if kind is DAY:
        return ""  # months differ in length
    try:
        values = parse_field(text, kind, name="").values
    except ScheduleError:
        return ""
    rows: list[list[int]] = []
    for value in values:
        if rows and value == rows[-1][-1] + 1:
            rows[-1].append(value)
        else:
            rows.append([value])
    # In the order in which they were meant: the part that is written first comes first.
    first = _number(0, text, 0, kind)[0]
    rows.sort(key=lambda row: row[-1] < first % (7 if kind is WEEKDAY else kind.high + 1))
    name = kind.names.__getitem__ if text[:1].isalpha() else str
    low = kind.low if text[:1].isalpha() else 0
    ends = [dict.fromkeys((name(row[0] - low), name(row[-1] - low))) for row in rows]
    return f': write "{",".join("-".join(end) for end in ends)}"'


def _range(index: int, text: str, at: int, kind: FieldKind) -> tuple[int, int, int, int]:
    """Read an item of a list; return its bounds, its step and where it ends."""
    begin = at
    if text[at : at + 1] == "*":
        first, last, at = kind.low, kind.high, at + 1
    else:
        first, at = _number(index, text, at, kind)
        if text[at : at + 1] != "-":
            if text[at : at + 1] == "/":
                raise _bad(index, text, begin, kind)
            last = first
        else:
            last, at = _number(index, text, at + 1, kind)
    step = 1
    if text[at : at + 1] == "/":
        digits = _WORD.match(text, at + 1)
        assert digits is not None  # it also matches ""
        step = int(digits[0][:12]) if digits[0].isdigit() else 0
        if not 0 < step <= _MAX_INT:
            raise _bad(index, text, begin, kind)
        at = digits.end()
    if not (kind.low <= first <= kind.high and kind.low <= last <= kind.high):
        raise _bad(index, text, begin, kind)
    return first, last, step, at


def _number(index: int, text: str, at: int, kind: FieldKind) -> tuple[int, int]:
    """Read a number or a name; return its value and where it ends."""
    word = _WORD.match(text, at)
    assert word is not None  # it also matches ""
    if word[0].upper() in kind.names:
        return kind.low + kind.names.index(word[0].upper()), word.end()
    if not word[0].isdigit():
        raise _bad(index, text, text.rfind(",", 0, at) + 1, kind)
    return int((word[0].lstrip("0") or "0")[:12]), word.end()


def _bad(index: int, text: str, begin: int, kind: FieldKind) -> BadField:
    """Return the error for an item that cron rejects; taskman may support it."""
    item = text[begin:].split(",", 1)[0]
    try:
        parse_field(item, kind, name="")
    except ScheduleError as error:
        return BadField(index, str(error))
    if "/" in item:
        first, step = item.split("/", 1)
        message = f'a step needs a range or "*", such as {first}-{kind.high}/{step}'
        return BadField(index, f"{kind.title} {quoted(item)}: {message}")
    return BadField(index, f"{kind.title} {quoted(item)}: valid in a taskman job file, but not in a crontab")
