"""The only renderer: it prints the result of a command as aligned text or as one JSON document.

The text is the same on a terminal, in a pipe and under `NO_COLOR`. Only `show_rows` depends on the terminal:
it cuts rows to the width and colours some words.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import datetime
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING

import click

from taskman_cli.core.clock import wall_time
from taskman_cli.core.escapes import printable
from taskman_cli.ui.terminal import has_glyphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from taskman_cli.cli.support.terminal_filter import TerminalFilter

#: Rows or items that are printed together; rows are aligned within such a chunk.
_CHUNK = 500
#: The minimal width of every column but the last, however narrow the terminal.
_MIN_COLUMN = 10
#: The minimal width of a row.
_MIN_WIDTH = 25


def show(document: object, rows: Iterable[Sequence[str]], *, as_json: bool) -> None:
    """Print the result of a command: `document` as JSON, or `rows` as a table; nothing if there are none."""
    text = json.dumps(document) if as_json else table(rows)
    if text:
        say(text)


def say(text: str, *, err: bool = False) -> None:
    """Print lines for people, with control characters escaped."""
    click.echo(printable(text, kept="\n\t"), err=err)


def print_data(text: str) -> None:
    """Print a document for a program or a file unchanged."""
    click.echo(text, nl=False)


def note(text: str) -> None:
    """Print a message that is not data on standard error."""
    say(f"taskman: {text}", err=True)


def note_on_terminal(text: str) -> None:
    """Print a message that only somebody who waits wants to know."""
    if sys.stderr.isatty():
        note(text)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Align the columns of `rows`, which have the same number of cells; the last column is not padded."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def show_array(items: Iterable[object]) -> None:
    """Print one JSON array with one item per line, while they come."""
    items, opening = iter(items), "["
    while chunk := list(islice(items, _CHUNK)):
        click.echo(opening + ",\n".join(map(json.dumps, chunk)), nl=False)
        opening = ",\n"
    click.echo("[]" if opening == "[" else "]")


def show_lines(items: Iterable[object]) -> None:
    """Print each item as a line of JSON, while they come."""
    items = iter(items)
    while chunk := list(islice(items, _CHUNK)):
        click.echo("\n".join(map(json.dumps, chunk)))


def show_rows(
    rows: Iterable[Sequence[str]],
    *,
    right: frozenset[int] = frozenset(),
    elastic: int | None = None,
    spare: Sequence[int] = (),
    colours: Mapping[str, str] | None = None,
    heading: str = "",
    columns: Sequence[str] = (),
    is_name_whole: bool = False,
) -> None:
    """Print many rows while they come, aligned by the first chunk unless later cells are wider.

    The last cell of each row gets the rest of the line, also if the row has fewer cells than others. Columns
    in `right` are right-aligned. If the width is known (a terminal, or `COLUMNS`), rows are cut at the edge,
    and the column `elastic` is cut to its share. If that is not enough, the columns in `spare` are left out,
    one after the other. `colours` maps whole cells, and signs that cells begin with, to colours on a
    terminal. `heading` is a line above the first row, and `columns` are headings of the columns; they are
    left out if there are no rows. With `is_name_whole`, the first cell is never cut: if it is longer than a
    third of the line, it gets a line of its own. The last cell then needs no more than a quarter.
    """
    rows = iter(rows)
    width, is_colourful = _width(), _is_colourful()
    has_signs = _has_signs()
    width = None if width is None else max(width, _MIN_WIDTH)
    widths: list[int] = []
    while chunk := _printable(islice(rows, _CHUNK)):
        if columns:
            chunk.insert(0, [*columns])
        _widen(widths, chunk)
        if width is not None:
            if is_name_whole:
                _hold_name(widths, chunk, most=max(width // 3, _MIN_COLUMN))
                _leave_out(widths, spare[:1], chunk, width=width, least=width // 3)
            if elastic is not None and elastic < len(widths):
                last = max((len(row[-1]) for row in chunk if len(row) > len(widths)), default=0)
                last = min(last, width // 4) if is_name_whole else last
                widths[elastic] = _share(widths, elastic, width=width, last=last)
            _leave_out(widths, spare, chunk, width=width)
        lines = [heading if width is None else cut(heading, width)] if heading else []
        heading = ""
        if columns:
            line = "  ".join(_cells(_headings(chunk.pop(0), widths), widths, right, width)).rstrip()
            lines.append(click.style(line, bold=True) if is_colourful else line)
            columns = ()
        for row in chunk:
            if is_name_whole and len(row[0]) > widths[0]:
                lines.append(row[0])
                row[0] = ""
            if width is None and not right:  # nothing is cut
                head = [cell.ljust(room) for cell, room in zip(row[:-1], widths, strict=False) if room]
                line = "  ".join([*head, row[-1]]).rstrip()
            else:
                line = "  ".join(_cells(row, widths, right, width)).rstrip()
            lines.append(_coloured(line, row, widths, colours) if colours and is_colourful else line)
        text = "\n".join(lines)
        click.echo(text if has_signs else _without_signs(text), color=is_colourful)


def _without_signs(text: str) -> str:
    from taskman_cli.ui.signs import ASCII  # few outputs need it

    return text.translate(ASCII)


def _headings(columns: Sequence[str], widths: Sequence[int]) -> Sequence[str]:
    """Let the last heading also stand for the column before it, if that one is left out."""
    if len(columns) - 1 == len(widths) and not widths[-1]:
        return [*columns[:-2], "", f"{columns[-2]} / {columns[-1]}"]
    return columns


def show_wrapped(rows: Iterable[Sequence[str]], *, colours: Mapping[str, str]) -> None:
    """Print rows without cutting them: if the width is known, the last cell is wrapped."""
    from textwrap import wrap

    rows = [[printable(cell) for cell in row] for row in rows]
    width, is_colourful = _width(), _is_colourful()
    widths: list[int] = []
    _widen(widths, rows)
    margin = sum(widths) + 2 * len(widths)
    for row in rows:
        lines = [row[-1]]
        if width is not None:
            # Do not break paths and commands, so that they can be copied.
            room = max(width - margin, 2 * _MIN_COLUMN)
            lines = wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or lines
        head = "  ".join(_cells([*row[:-1], lines[0]], widths, frozenset(), None)).rstrip()
        click.echo(_coloured(head, row, widths, colours) if is_colourful else head, color=is_colourful)
        for line in lines[1:]:
            click.echo(" " * margin + line)


def _printable(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Escape what is not printable in rows."""
    found = [*map(list, rows)]
    if "".join(chain.from_iterable(found)).isprintable():  # nearly always
        return found
    return [[*map(printable, row)] for row in found]


def _widen(widths: list[int], rows: Iterable[Sequence[str]]) -> None:
    """Widen columns to hold all cells of `rows` but the last of each."""
    # A column is the lengths of its cells; of the last cell of a row there are none.
    lengths = zip_longest(*([*map(len, row[:-1])] for row in rows), fillvalue=0)
    widths[:] = map(max, zip_longest(widths, map(max, lengths), fillvalue=0))


def _hold_name(widths: list[int], rows: Sequence[Sequence[str]], *, most: int) -> None:
    """Make the first column wide enough for the names that fit into it."""
    if widths[0] > most:
        widths[0] = max((len(row[0]) for row in rows if len(row[0]) <= most), default=_MIN_COLUMN)


def _share(widths: Sequence[int], elastic: int, *, width: int, last: int) -> int:
    """Return the width of the elastic column: what the others leave, but at least half of the rest."""
    room = width - (sum(widths) - widths[elastic] + 2 * len(widths))
    return min(widths[elastic], max(room - last, room // 2, _MIN_COLUMN))


def _leave_out(
    widths: list[int],
    spare: Sequence[int],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    least: int = _MIN_COLUMN,
) -> None:
    """Leave out spare columns until the last cell of each row has enough room: all it needs, or the least."""
    for index in (index for index in spare if index < len(widths)):  # all rows may have fewer cells
        begins = {len(row): _begin(widths, len(row) - 1) for row in rows}
        if all(width - begins[len(row)] >= min(len(row[-1]), least) for row in rows):
            return
        widths[index] = 0


def _begin(widths: Sequence[int], index: int) -> int:
    """Return where a column begins; a column that is left out has no width and no gap."""
    return sum(width + 2 for width in widths[:index] if width)


def _cells(
    row: Sequence[str], widths: Sequence[int], right: frozenset[int], width: int | None
) -> Iterator[str]:
    """Pad and cut the cells of one row."""
    for index, (cell, room) in enumerate(zip(row[:-1], widths, strict=False)):
        left = room if width is None else min(room, width - _begin(widths, index))
        if left > 0:
            yield cut(cell, left).rjust(left) if index in right else cut(cell, left).ljust(left)
    left = len(row[-1]) if width is None else width - _begin(widths, len(row) - 1)
    if left > 0:
        yield cut(row[-1], left)


def _coloured(line: str, row: Sequence[str], widths: Sequence[int], colours: Mapping[str, str]) -> str:
    """Colour the cells that are in `colours`, from the end, so that positions to the left stay valid."""
    begins = [_begin(widths, index) for index in range(len(row))]
    for index, begin, cell in reversed(list(zip(range(len(row)), begins, row, strict=True))):
        colour = colours.get(cell) or colours.get(cell[:1])
        end = begin + widths[index] if index < len(row) - 1 else len(line)
        text = line[begin : min(end, begin + len(cell))].rstrip()
        # It may be cut, or left out.
        if colour and text and cell.startswith(text[:-1]) and cell[:1] == text[:1]:
            line = line[:begin] + click.style(text, fg=colour) + line[begin + len(text) :]
    return line


def cut(text: str, width: int) -> str:
    """Return the text if it fits, else its beginning and an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + _ellipsis()


def cut_begin(text: str, width: int) -> str:
    """Return the text if it fits, else an ellipsis and its end."""
    return text if len(text) <= width else _ellipsis() + text[len(text) - max(width - 1, 0) :]


def _ellipsis() -> str:
    return "…" if "utf" in (getattr(sys.stdout, "encoding", None) or "").lower() else "~"


def width_of_output() -> int | None:
    """Return the width that rows are cut to; None: they are not cut."""
    width = _width()
    return None if width is None else max(width, _MIN_WIDTH)


def _width() -> int | None:
    """Return the width of the output; None: unlimited."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def _has_signs() -> bool:
    """Tell whether the output can show more than ASCII."""
    return has_glyphs(sys.stdout)


def _is_colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def day_and_time(at: datetime) -> str:
    """Format a time for people: weekday, date, time and offset."""
    return f"{at:%a} {at.isoformat(sep=' ')}"


def column_time(at_ns: int, *, now_ns: int, zone: tzinfo | None = None) -> str:
    """Format a time for a column; the year is shown only if it is not the current one.

    `zone`: None is the machine's zone.
    """
    at, now = wall_time(at_ns, zone), wall_time(now_ns, zone)
    return f"{at:%d %b %H:%M:%S}" if at.year == now.year else f"{at:%Y-%m-%d %H:%M}"


def as_users(users: Sequence[str]) -> str:
    """Return "as USER, …" for the users that the commands of a job run as; "" if it names none."""
    return f"as {', '.join(users)}" if users else ""


def flush() -> None:
    """Flush standard output, before a wait."""
    sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Print bytes unchanged."""
    sys.stdout.buffer.write(data)


def screen() -> TerminalFilter | None:
    """Return a filter for the output of a command if we print to a terminal, else None."""
    if not sys.stdout.isatty():
        return None
    from taskman_cli.cli.support.terminal_filter import TerminalFilter

    return TerminalFilter()


def write_shown(text: str) -> None:
    """Print text that the filter of `screen` returned."""
    write_bytes(text.encode(sys.stdout.encoding, "backslashreplace"))
