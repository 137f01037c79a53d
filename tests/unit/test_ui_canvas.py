"""What the view sends, played on a small terminal: in place, robust against typing, and tidy at the end."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine.view import Counters, QueueRow, Snapshot, WorkerRow
from taskman_cli.ui.canvas import KEPT_FRAMES, Canvas
from taskman_cli.ui.ink import Ink
from taskman_cli.ui.render import render

if TYPE_CHECKING:
    from taskman_cli.ui.render import Frame

IDLE = Snapshot(
    now=Now(wall_ns=0, elapsed_ns=0),
    started_ns=0,
    jobs=1,
    max_workers=16,
    queue=(QueueRow("probe", SECOND_NS, SECOND_NS),),
    workers=(),
    ready=0,
    waiting_retries=0,
    recent=(),
    counters=Counters(),
)
BUSY = replace(IDLE, workers=tuple(WorkerRow("r", f"job-{n}", "main", 1, 42, 0, None) for n in range(6)))


class Screen:
    """As much of a terminal as the view uses; anything else it is sent is an error."""

    _TOKEN = re.compile(r"\x1b\[(?P<args>[?\d;]*)(?P<name>[A-Za-z])|\x1b(?P<short>[78])|(?P<text>[^\x1b])")

    def __init__(self, *, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.rows = [" " * columns for _ in range(lines)]
        self.scrollback: list[str] = []
        self.row = self.column = 0
        self.saved = 0, 0
        self.modes = {"25": True, "7": True}

    def feed(self, text: str) -> None:
        rest = self._TOKEN.sub("", text)
        assert not rest, f"not understood: {rest!r}"
        for token in self._TOKEN.finditer(text):
            if token["text"]:
                self._character(token["text"])
            elif token["short"] == "7":
                self.saved = self.row, self.column
            elif token["short"] == "8":
                self.row, self.column = self.saved
            else:
                self._control(token["name"], token["args"])

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._line_feed()
        else:
            if self.column == self.columns:
                self.column = 0
                self._line_feed()
            row = self.rows[self.row]
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            at_edge = self.column == self.columns - 1
            self.column += 0 if at_edge and not self.modes["7"] else 1

    def _line_feed(self) -> None:
        if self.row < self.lines - 1:
            self.row += 1
        else:
            self.scrollback.append(self.rows.pop(0))
            self.rows.append(" " * self.columns)

    def _control(self, name: str, args: str) -> None:
        if name == "m":
            return
        if name in "hl":
            self.modes[args.removeprefix("?")] = name == "h"
        elif name == "A":
            self.row = max(self.row - int(args), 0)
        elif name == "B":
            self.row = min(self.row + int(args), self.lines - 1)
        elif name == "H":
            row, column = (int(arg) for arg in (args or "1;1").split(";"))
            self.row, self.column = row - 1, column - 1
        elif name == "K":
            column = min(self.column, self.columns - 1)
            self.rows[self.row] = self.rows[self.row][:column].ljust(self.columns)
        elif name == "J":
            self._control("K", "")
            self.rows[self.row + 1 :] = [" " * self.columns] * (self.lines - self.row - 1)
        else:
            raise AssertionError(f"not understood: {name}")

    @property
    def text(self) -> str:
        """All that can be seen, the scrollback included."""
        return "\n".join(row.rstrip() for row in [*self.scrollback, *self.rows]).rstrip()


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def canvas(*, can_move: bool = True, is_ascii: bool = False) -> Canvas:
    return Canvas(timezone=UTC, can_move=can_move, is_ascii=is_ascii)


@pytest.mark.parametrize("prompt_row", [0, 5, 23], ids=["top", "middle", "bottom"])
def test_frames_replace_each_other_below_the_prompt(prompt_row: int) -> None:
    screen, view = Screen(columns=80, lines=24), canvas()
    screen.feed("\r\n" * prompt_row + "$ taskman run\r\n")
    for snapshot in (IDLE, BUSY, IDLE):
        screen.feed(view.draw(snapshot, [], size=(80, 24)))
    screen.feed(view.end() + "$ ")
    lines = screen.text.strip().splitlines()
    assert lines[0] == "$ taskman run"
    assert lines[1].startswith(" taskman   ● running")
    assert lines[-2:] == [" 0 started   ✓ 0 succeeded   ✗ 0 failed", "$"]
    assert screen.text.count("╭─ Queue") == 1


def test_a_frame_that_shrinks_leaves_nothing_behind() -> None:
    screen, view = Screen(columns=80, lines=40), canvas()
    for snapshot in (BUSY, *[IDLE] * (KEPT_FRAMES + 1)):
        screen.feed(view.draw(snapshot, [], size=(80, 40)))
    fresh = Screen(columns=80, lines=40)
    fresh.feed(canvas().draw(IDLE, [], size=(80, 40)))
    assert fresh.text == screen.text


def test_rows_of_a_burst_are_kept_for_a_while() -> None:
    screen, view = Screen(columns=80, lines=40), canvas()
    screen.feed(view.draw(BUSY, [], size=(80, 40)))
    height = len(screen.text.splitlines())
    for _ in range(KEPT_FRAMES - 1):
        screen.feed(view.draw(IDLE, [], size=(80, 40)))
    assert len(screen.text.splitlines()) == height
    for _ in range(2):
        screen.feed(view.draw(IDLE, [], size=(80, 40)))
    assert len(screen.text.splitlines()) < height


@pytest.mark.parametrize("lines", [24, 50])
@pytest.mark.parametrize("length", [0, 10, 79, 80, 81, 160, 200])
def test_log_lines_are_above_the_frame_in_order_and_whole(lines: int, length: int) -> None:
    screen, view = Screen(columns=80, lines=lines), canvas()
    screen.feed(view.draw(BUSY, [], size=(80, lines)))
    log = ["first", "x" * length, "last"]
    screen.feed(view.draw(None, log, size=(80, lines)))
    seen = screen.text.splitlines()
    top = seen.index(next(line for line in seen if line.startswith(" taskman")))
    expected = ["first", *([log[1][n : n + 80] for n in range(0, length, 80)] or [""]), "last"]
    assert seen[:top] == expected
    assert screen.text.count("╭─ Queue") == 1


def test_log_lines_before_the_first_snapshot_are_shown_at_once() -> None:
    assert canvas().draw(None, ["hello", "two\nlines"], size=(80, 24)).replace("\x1b[K", "").split(
        "\r\n"
    ) == [
        "hello",
        "two",
        "lines",
        "",
    ]


def test_a_log_line_cannot_control_the_terminal() -> None:
    assert r"\x1b[2J" in canvas().draw(None, ["\x1b[2J"], size=(80, 24))


def test_typed_text_is_drawn_over() -> None:
    screen, view = Screen(columns=80, lines=24), canvas()
    screen.feed("$ taskman run\r\n")
    screen.feed(view.draw(BUSY, [], size=(80, 24)))
    before = screen.text
    screen.feed("abc\r\n\r\n^C\r\n")
    screen.feed(view.draw(BUSY, [], size=(80, 24)))
    assert before == screen.text


def test_after_a_change_of_size_the_screen_is_drawn_again() -> None:
    view = canvas()
    view.draw(BUSY, [], size=(160, 50))
    screen = Screen(columns=60, lines=20)
    screen.feed(("rubbish" * 20 + "\r\n") * 30)
    screen.scrollback.clear()
    screen.feed(view.draw(BUSY, [], size=(60, 20)))
    assert "rubbish" not in screen.text
    assert screen.rows[0].startswith(" taskman")


def test_wrapping_is_off_while_a_frame_is_drawn_and_on_after_it() -> None:
    screen, view = Screen(columns=80, lines=24), canvas()
    # As if the terminal took a line for wider than it is: it must not push the others down.
    screen.feed(view.draw(BUSY, [], size=(80, 24)).replace("probe", "probe" * 20))
    assert screen.modes["7"]
    assert len(screen.text.splitlines()) <= 23


def test_the_cursor_is_hidden_while_drawing_and_shown_at_the_end() -> None:
    screen, view = Screen(columns=80, lines=24), canvas()
    screen.feed(view.draw(IDLE, [], size=(80, 24)))
    hidden = dict(screen.modes)
    screen.feed(view.end())
    assert (hidden["25"], screen.modes["25"], screen.column) == (False, True, 0)


def test_an_end_before_the_first_frame_moves_nothing() -> None:
    screen = Screen(columns=80, lines=24)
    screen.feed("$ \x1b7")
    screen.feed(canvas().end())
    assert (screen.row, screen.column, screen.modes["25"]) == (0, 2, True)


@pytest.mark.parametrize("size", [(1, 1), (20, 2), (20, 5), (40, 10)])
def test_the_smallest_terminal_never_scrolls(size: tuple[int, int]) -> None:
    screen, view = Screen(columns=size[0], lines=size[1]), canvas()
    for snapshot in (IDLE, BUSY, IDLE):
        screen.feed(view.draw(snapshot, [], size=size))
    assert screen.scrollback == []


def test_colours_are_of_the_first_sixteen_and_no_color_turns_them_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    colourful = canvas().draw(BUSY, [], size=(80, 24))
    assert "\x1b[36m" in colourful
    assert "38;" not in colourful
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", canvas().draw(BUSY, [], size=(80, 24)))


@pytest.mark.parametrize("no_color", ["", "1"])
@pytest.mark.parametrize("can_move", [True, False])
def test_a_frame_is_what_richs_console_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, no_color: str, can_move: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    snapshot = replace(
        BUSY, queue=(QueueRow("日本語", 0, 0, schedule="x" * 300), QueueRow("off", 1, 1, False))
    )
    frame = render(snapshot, width=120, height=29, timezone=UTC)
    console = Console(
        file=StringIO(), force_terminal=can_move, color_system="standard" if can_move else None, width=120
    )
    with console.capture() as capture:
        console.print(frame, end="", crop=False, no_wrap=True)
    ink = Ink(is_styled=can_move, has_colour=not no_color)
    assert capture.get().splitlines() == [ink.text(line) for line in frame.lines]


def test_log_lines_draw_the_same_frame_again_without_making_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(*arguments: Any, **more: Any) -> Frame:
        made.append(more["width"])
        return render(*arguments, **more)

    monkeypatch.setattr("taskman_cli.ui.canvas.render", counted)
    screen, view = Screen(columns=100, lines=24), canvas()
    screen.feed(view.draw(BUSY, [], size=(80, 24)))
    for number in range(3):
        screen.feed(view.draw(None, [f"line {number}"], size=(80, 24)))
    assert ("line 2" in screen.text, screen.text.count("╭─ Queue"), made) == (True, 1, [80])
    view.draw(None, ["more"], size=(100, 24))
    view.draw(IDLE, [], size=(100, 24))
    view.draw(IDLE, [], size=(100, 24))
    assert made == [80, 100, 100, 100]


def test_a_terminal_without_glyphs_gets_ascii_of_the_same_width() -> None:
    snapshot = replace(BUSY, queue=(QueueRow("日本語", 0, 0),))
    screen = Screen(columns=80, lines=24)
    screen.feed(canvas(is_ascii=True).draw(snapshot, ["ä"], size=(80, 24)))
    assert screen.text.isascii()
    assert "| > ??????" in screen.text
    assert {len(row.rstrip()) for row in screen.rows if row.startswith(("|", "+"))} == {80}


def test_without_cursor_movement_the_view_comes_once_and_plain() -> None:
    view = canvas(can_move=False)
    assert view.draw(BUSY, ["a log line"], size=(80, 24)) == "a log line\n"
    last = view.end()
    assert "\x1b" not in last
    assert last.splitlines()[0].startswith(" taskman   ● running")


def test_without_cursor_movement_and_snapshot_the_end_prints_nothing() -> None:
    assert canvas(can_move=False).end() == ""
