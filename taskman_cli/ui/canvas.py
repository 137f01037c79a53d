"""From snapshots to what is sent to a terminal: the frame in place, log lines above it. Writes nothing.

The view is drawn below what the terminal shows already, so that the last frame stays in the scrollback. The
cursor is parked at the top of the frame, at a position that the terminal itself remembers: what people type
meanwhile is drawn over and moves nothing.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from taskman_cli.ui import marks
from taskman_cli.ui.render import render
from taskman_cli.ui.text import plain, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from taskman_cli.core.engine.view import Snapshot

#: Rows that a burst of work needed are kept for this many frames after it.
KEPT_FRAMES = 40

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# Off while a frame is drawn: a glyph that the terminal takes for wider than we do must not push a line over.
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
_SAVE, _RESTORE = "\x1b7", "\x1b8"
_ERASE_TO_THE_END = "\x1b[K"
# Not from the first row on: tmux takes that for `clear` and moves the old frame to the scrollback.
_HOME_AND_ERASE = "\x1b[2;1H\x1b[J\x1b[H\x1b[K"

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


class Canvas:
    """What is on the terminal now, and how to get from there to the next frame."""

    def __init__(self, *, timezone: tzinfo, can_move: bool, is_ascii: bool) -> None:
        self._timezone = timezone
        self._can_move = can_move
        self._is_ascii = is_ascii
        # In the terminal's own words: it may be in raw mode, where a line feed does not return.
        self._newline = "\r\n" if can_move else "\n"
        self._console = Console(
            file=StringIO(), force_terminal=can_move, color_system="standard" if can_move else None
        )
        self._snapshot: Snapshot | None = None
        #: Only log lines are shown.
        self._is_away = False
        self._size = (80, 24)
        #: Lines of the frame that is on the screen; 0 before the first.
        self._drawn = 0
        self._kept_rows = 0
        self._frames_since_kept = 0

    def draw(self, snapshot: Snapshot | None, log: Iterable[str], *, size: tuple[int, int]) -> str:
        """Return what puts log lines and the next frame (None: the same again) on a terminal of this size."""
        if snapshot:
            self._snapshot = snapshot
            self._keep_rows(len(snapshot.workers))
        was_resized = self._drawn > 0 and size != self._size
        self._size = size
        above = "".join(self._log_line(text) for line in log for text in line.splitlines() or [""])
        if not self._can_move or self._snapshot is None or self._is_away:
            return above
        frame = self._frame(self._snapshot)
        start = _RESTORE if self._drawn else f"{_HIDE_CURSOR}\r"
        if was_resized:
            # Nobody knows where the terminal has moved the old frame to.
            start = _HOME_AND_ERASE
        over = [_ERASE_TO_THE_END] * (self._drawn - len(frame))
        self._drawn = len(frame)
        body = self._newline.join([*frame, *over])
        # Scrolls as far as there is no room yet, and not at all where there is.
        rows = len(frame) + len(over)
        room = "\n" * (rows - 1) + _up(rows - 1)
        return f"{start}{above}{room}\r{_SAVE}{_WRAP_OFF}{body}{_RESTORE}{_WRAP_ON}"

    def leave(self) -> str:
        """Return what leaves the last frame where it is; from here on there are only log lines, below it."""
        end, self._drawn, self._is_away = self.end() if self._can_move else "", 0, True
        return end

    def come_back(self) -> None:
        """Draw frames again, below what the terminal shows by now."""
        self._is_away = False

    def end(self) -> str:
        """Return what leaves the last frame on the terminal and the cursor, visible, below it."""
        if self._can_move:
            below = f"{_RESTORE}{_down(self._drawn - 1)}{self._newline}" if self._drawn else ""
            return f"{below}{_WRAP_ON}{_SHOW_CURSOR}"
        lines = self._frame(self._snapshot) if self._snapshot else []
        return "".join(f"{line.rstrip()}{self._newline}" for line in lines)

    def _frame(self, snapshot: Snapshot) -> list[str]:
        """Return the lines of a frame, colours included."""
        columns, lines = self._size
        # One line less than there is: when the view ends, the next prompt does not push the header off.
        height = max(lines - 1, 1)
        kept_rows = self._kept_rows
        frame = render(snapshot, width=columns, height=height, timezone=self._timezone, worker_rows=kept_rows)
        with self._console.capture() as capture:
            self._console.print(frame, end="", crop=False, no_wrap=True)
        return self._printable(capture.get()).splitlines()

    def _log_line(self, text: str) -> str:
        text = self._printable(plain(text))
        # A line that ends with the row leaves nothing of the old frame behind it, and its last cell would go.
        is_full = text and width_of(text) % self._size[0] == 0
        return text + (_ERASE_TO_THE_END if self._can_move and not is_full else "") + self._newline

    def _printable(self, text: str) -> str:
        if not self._is_ascii:
            return text
        return _NOT_ASCII.sub(lambda match: "?" * width_of(match.group()), text.translate(marks.ASCII))

    def _keep_rows(self, rows: int) -> None:
        self._frames_since_kept += 1
        if rows >= self._kept_rows or self._frames_since_kept > KEPT_FRAMES:
            self._kept_rows = rows
            self._frames_since_kept = 0


def _up(lines: int) -> str:
    # A count of 0 would be taken for 1.
    return f"\x1b[{lines}A" if lines else ""


def _down(lines: int) -> str:
    return f"\x1b[{lines}B" if lines else ""
