"""Turns snapshots into the text for a terminal: the frame in place, log lines above it. Writes nothing.

The view is drawn below the existing text of the terminal, so that the last frame stays in the scrollback. The
cursor rests at the top of the frame, at a position that the terminal saves: what people type in between is
drawn over and moves nothing.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from taskman_cli.ui.ink import Ink
from taskman_cli.ui.render import render
from taskman_cli.ui.signs import ASCII
from taskman_cli.ui.text import plain, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from taskman_cli.core.engine.view import Snapshot

#: Rows that a burst of work needed are kept for this many more frames.
KEPT_FRAMES = 40

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# Off while a frame is drawn: a glyph that is wider in the terminal than we assume must not wrap a line.
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
_SAVE, _RESTORE = "\x1b7", "\x1b8"
_ERASE_TO_THE_END = "\x1b[K"
# Not from the first row: tmux treats that as `clear` and moves the old frame to the scrollback.
_HOME_AND_ERASE = "\x1b[2;1H\x1b[J\x1b[H\x1b[K"

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


class Canvas:
    """The current content of the terminal, and the way from there to the next frame."""

    def __init__(self, *, timezone: tzinfo, can_move: bool, is_ascii: bool) -> None:
        self._timezone = timezone
        self._can_move = can_move
        self._is_ascii = is_ascii
        # A line feed alone does not return the cursor if the terminal is in raw mode.
        self._newline = "\r\n" if can_move else "\n"
        self._ink = Ink(is_styled=can_move, has_colour=not os.environ.get("NO_COLOR"))
        self._snapshot: Snapshot | None = None
        #: The frame of this snapshot at this size; None: it has not been made.
        self._frame_lines: list[str] | None = None
        #: Only log lines are shown, without a frame.
        self._is_away = False
        self._size = (80, 24)
        #: Lines of the frame that is on the screen; 0 before the first.
        self._drawn = 0
        self._kept_rows = 0
        self._frames_since_kept = 0

    def draw(self, snapshot: Snapshot | None, log: Iterable[str], *, size: tuple[int, int]) -> str:
        """Return the text that draws log lines and the next frame (None: the same) at this size."""
        if snapshot:
            self._snapshot, self._frame_lines = snapshot, None
            self._keep_rows(len(snapshot.workers))
        was_resized = self._drawn > 0 and size != self._size
        if size != self._size:
            self._frame_lines = None
        self._size = size
        above = "".join(self._log_line(text) for line in log for text in line.splitlines() or [""])
        if not self._can_move or self._snapshot is None or self._is_away:
            return above
        frame = self._frame(self._snapshot)
        start = _RESTORE if self._drawn else f"{_HIDE_CURSOR}\r"
        if was_resized:
            # After a change of size, the position of the old frame is unknown.
            start = _HOME_AND_ERASE
        over = [_ERASE_TO_THE_END] * (self._drawn - len(frame))
        self._drawn = len(frame)
        body = self._newline.join([*frame, *over])
        # This scrolls only as far as there is no room.
        rows = len(frame) + len(over)
        room = "\n" * (rows - 1) + _up(rows - 1)
        return f"{start}{above}{room}\r{_SAVE}{_WRAP_OFF}{body}{_RESTORE}{_WRAP_ON}"

    @property
    def is_on_screen(self) -> bool:
        """Tell if frames are drawn in place, and not only log lines."""
        return self._can_move and not self._is_away

    def leave(self) -> str:
        """Return the text that leaves the last frame where it is; from now on log lines follow below it."""
        end, self._drawn, self._is_away = self.end() if self._can_move else "", 0, True
        return end

    def come_back(self) -> None:
        """Draw frames again, below the current text of the terminal."""
        self._is_away = False

    def end(self) -> str:
        """Return the text that leaves the last frame on the terminal, with a visible cursor below it."""
        if self._can_move:
            below = f"{_RESTORE}{_down(self._drawn - 1)}{self._newline}" if self._drawn else ""
            return f"{below}{_WRAP_ON}{_SHOW_CURSOR}"
        lines = self._frame(self._snapshot) if self._snapshot else []
        return "".join(f"{line.rstrip()}{self._newline}" for line in lines)

    def _frame(self, snapshot: Snapshot) -> list[str]:
        """Return the lines of a frame, with colours; they are made once, however much is logged meanwhile."""
        if self._frame_lines is not None:
            return self._frame_lines
        columns, lines = self._size
        # One line less than the screen, so that the next prompt does not scroll the header away.
        height = max(lines - 1, 1)
        kept_rows = self._kept_rows
        frame = render(snapshot, width=columns, height=height, timezone=self._timezone, worker_rows=kept_rows)
        self._frame_lines = [self._printable(self._ink.text(line)) for line in frame.lines]
        return self._frame_lines

    def _log_line(self, text: str) -> str:
        text = self._printable(plain(text))
        # A line that fills the row needs no clearing, which would erase its last cell.
        is_full = text and width_of(text) % self._size[0] == 0
        return text + (_ERASE_TO_THE_END if self._can_move and not is_full else "") + self._newline

    def _printable(self, text: str) -> str:
        if not self._is_ascii:
            return text
        return _NOT_ASCII.sub(lambda match: "?" * width_of(match.group()), text.translate(ASCII))

    def _keep_rows(self, rows: int) -> None:
        self._frames_since_kept += 1
        if rows >= self._kept_rows or self._frames_since_kept > KEPT_FRAMES:
            self._kept_rows = rows
            self._frames_since_kept = 0


def _up(lines: int) -> str:
    # Terminals treat a count of 0 as 1.
    return f"\x1b[{lines}A" if lines else ""


def _down(lines: int) -> str:
    return f"\x1b[{lines}B" if lines else ""
