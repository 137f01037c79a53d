"""A titled part of the screen with or without a border, and the distribution of rows to panels."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment

from taskman_cli.ui.marks import BOLD, QUIET
from taskman_cli.ui.text import Line, cut, fit, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Decoration(Enum):
    """What a panel shows besides its rows."""

    BOX = "box"
    RULE = "rule"
    BARE = "bare"

    @property
    def rows(self) -> int:
        """Return how many rows of the screen it takes."""
        return {"box": 2, "rule": 1, "bare": 0}[self.value]

    def inner(self, width: int) -> int:
        """Return how many cells are left for a row."""
        return width - 4 if self is Decoration.BOX else width


class Panel(NamedTuple):
    """The content of a panel, before it is laid out."""

    title: str
    #: The text at the other end of the title line.
    info: str
    #: Lines of the width `Decoration.inner`, at most as many as fit.
    lines: Sequence[Line]
    #: How many more rows there are.
    more: int


def decorated(panel: Panel, *, width: int, rows: int, decoration: Decoration) -> list[Line]:
    """Return the panel: exactly `rows` rows of content, and what the decoration adds."""
    inner = decoration.inner(width)
    blank: Line = [Segment(" " * inner)]
    body = [fit(line, inner) for line in panel.lines[:rows]]
    body += [blank] * (rows - len(body))
    more = f"… {panel.more:,} more" if panel.more else ""
    if decoration is Decoration.BARE:
        return body
    if decoration is Decoration.RULE:
        return [_rule("", panel.title, [panel.info, more], "", width), *body]
    side = Segment("│ ", QUIET), Segment(" │", QUIET)
    return [
        _rule("╭─ ", panel.title, [panel.info], "─╮", width),
        *([side[0], *line, side[1]] for line in body),
        _rule("╰─", "", [more], "─╯", width),
    ]


def _rule(start: str, title: str, notes: Sequence[str], end: str, width: int) -> Line:
    """Return a rule with a title near its start and notes near its end, the most important last."""
    room = width - width_of(start) - width_of(end)
    title = f"{cut(title, room - 1)} " if title else ""
    tail = ""
    for note in reversed(notes):
        longer = f"{note}, {tail}" if note and tail else note or tail
        if width_of(title) + width_of(longer) + 3 <= room:
            tail = longer
    if tail:
        tail = f" {tail}" + (" " if end else "")
    dashes = "─" * max(room - width_of(title) - width_of(tail), 0)
    line = [Segment(start, QUIET), Segment(title, BOLD), Segment(dashes + tail + end, QUIET)]
    return fit(line, width)


def share(available: int, wants: Sequence[int]) -> list[int]:
    """Distribute rows evenly, one at a time in order, to the panels that still need one."""
    shares = [0] * len(wants)
    left = min(available, sum(wants))
    while left > 0:
        for index, want in enumerate(wants):
            if left > 0 and shares[index] < want:
                shares[index] += 1
                left -= 1
    return shares
