"""A titled part of the screen, in one of three dresses, and how the rows of the screen are shared out."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment

from taskman_cli.ui.marks import BOLD, QUIET
from taskman_cli.ui.text import Line, cut, fit, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Dress(Enum):
    """How much a panel shows of itself besides its rows."""

    BOX = "box"
    RULE = "rule"
    BARE = "bare"

    @property
    def rows(self) -> int:
        """Return how many rows of the screen it costs."""
        return {"box": 2, "rule": 1, "bare": 0}[self.value]

    def inner(self, width: int) -> int:
        """Return how many cells it leaves for a row."""
        return width - 4 if self is Dress.BOX else width


class Panel(NamedTuple):
    """What a panel says, before it is known how it is dressed."""

    title: str
    #: Stands at the other end of the title.
    info: str
    #: As wide as `Dress.inner` says; at most as many as there is room for.
    lines: Sequence[Line]
    #: Rows that there are besides.
    more: int


def dressed(panel: Panel, *, width: int, rows: int, dress: Dress) -> list[Line]:
    """Return the panel as exactly `rows` rows of content and what the dress adds to them."""
    inner = dress.inner(width)
    blank: Line = [Segment(" " * inner)]
    body = [fit(line, inner) for line in panel.lines[:rows]]
    body += [blank] * (rows - len(body))
    more = f"… {panel.more:,} more" if panel.more else ""
    if dress is Dress.BARE:
        return body
    if dress is Dress.RULE:
        return [_rule("", panel.title, [panel.info, more], "", width), *body]
    side = Segment("│ ", QUIET), Segment(" │", QUIET)
    return [
        _rule("╭─ ", panel.title, [panel.info], "─╮", width),
        *([side[0], *line, side[1]] for line in body),
        _rule("╰─", "", [more], "─╯", width),
    ]


def _rule(start: str, title: str, notes: Sequence[str], end: str, width: int) -> Line:
    """Return a line across: a title near its start, notes near its end, the last of which matters most."""
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
    """Share rows out evenly, one at a time in order, to those that still want one."""
    shares = [0] * len(wants)
    left = min(available, sum(wants))
    while left > 0:
        for index, want in enumerate(wants):
            if left > 0 and shares[index] < want:
                shares[index] += 1
                left -= 1
    return shares
