"""The renderer where rows are many, long or cut: columns, widths, colours, JSON as it comes."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from taskman_cli.cli import render
from taskman_cli.cli.render import column_time, cut, show_array, show_lines, show_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Shown = Callable[..., list[str]]

SECOND_NS = 1_000_000_000
YEAR_NS = 366 * 86_400 * SECOND_NS


@pytest.fixture(autouse=True)
def _no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """Show rows and return the lines."""

    def show(*rows: Sequence[str], **options: object) -> list[str]:
        show_rows(rows, **options)  # type: ignore[arg-type]
        return capsys.readouterr().out.splitlines()

    return show


def test_all_columns_but_the_last_are_aligned(shown: Shown) -> None:
    rows = [("a", "1", "x"), ("long", "100", ""), ("b", "", "y")]
    assert shown(*rows) == ["a     1    x", "long  100", "b          y"]
    assert shown(*rows, right=frozenset({1})) == ["a       1  x", "long  100", "b          y"]


def test_the_last_cell_of_a_shorter_row_takes_no_column(shown: Shown) -> None:
    rows = [("a", "b", "c", "d"), ("a", "words that need room"), ("words",)]
    assert shown(*rows) == ["a  b  c  d", "a  words that need room", "words"]


def test_rows_are_cut_where_the_width_is_known_and_the_elastic_column_first(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name, words = "n" * 30, "w" * 60
    assert shown(("1", name, words), elastic=1) == ["1  " + "n" * 16 + "…  " + "w" * 17 + "…"]
    assert shown(("1", name, "ok"), elastic=1) == ["1  " + name + "  ok"], "as long as there is room"
    monkeypatch.setenv("COLUMNS", "10")
    assert shown(("1", name, words), elastic=1) == ["1  nnnnnnnnn…  wwwwwwwww…"], "something of each is seen"
    monkeypatch.delenv("COLUMNS")
    assert shown(("1", name, words), elastic=1) == [f"1  {name}  {words}"]


def test_later_rows_are_aligned_unless_they_are_wider(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_CHUNK", 2)
    assert shown(("aaa", "1"), ("b", "2"), ("c", "3")) + shown(("dddddd", "4")) == [
        "aaa  1",
        "b    2",
        "c    3",
        "dddddd  4",
    ]
    assert shown(("a", "1"), ("bbb", "2"), ("c", "3")) == ["a    1", "bbb  2", "c    3"]


def test_what_could_drive_a_terminal_is_written_out(shown: Shown) -> None:
    assert shown(("\x1b[2J\n", "é\u202e")) == [r"\x1b[2J\n  é\u202e"]


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
    ids=["a terminal", "NO_COLOR", "a dumb terminal", "NO_COLOR, empty"],
)
def test_colours_are_for_terminals_that_want_them(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_coloured: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    rows = [("failed", "failed", "why"), ("x", "fine", "failed to start")]
    plain = ["failed  failed  why", "x       fine    failed to start"]
    colours = {"failed": "red"}
    assert plain == shown(*rows, colours=colours)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    red = "\x1b[31mfailed\x1b[0m"
    assert [f"{red}  {red}  why", plain[1]] if is_coloured else plain == shown(*rows, colours=colours)


def test_a_cell_that_begins_with_a_sign_is_coloured_as_far_as_it_is_shown(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((30, 24)))
    rows = [("a", "✗ ×12 " + "no such thing " * 3, "every 5s"), ("b", "✓ just now", "every 5s")]
    assert shown(*rows, elastic=1, colours={"✗": "red", "✓": "green"}) == [
        "a  \x1b[31m✗ ×12 no such th…\x1b[0m  every 5s",
        "b  \x1b[32m✓ just now\x1b[0m         every 5s",
    ]


def test_headings_stand_above_their_columns_and_long_names_alone(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("JOB", "LAST", "SCHEDULE")
    rows = [("a-name-that-is-long", "✓", "every 5s"), ("b", "✗", "every 5s")]
    assert shown(*rows, columns=columns, is_name_whole=True) == [
        "JOB                  LAST  SCHEDULE",
        "a-name-that-is-long  ✓     every 5s",
        "b                    ✗     every 5s",
    ]
    monkeypatch.setenv("COLUMNS", "40")
    assert shown(*rows, columns=columns, is_name_whole=True) == [
        "JOB  LAST  SCHEDULE",
        "a-name-that-is-long",
        "     ✓     every 5s",
        "b    ✗     every 5s",
    ]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abc", 1, "…"), ("abc", 0, "…"), ("", 0, "")],
)
def test_a_cut_shows_that_there_is_more(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_array_is_json_that_begins_before_it_is_complete(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(render, "_CHUNK", 2)
    printed = []

    def items() -> Iterator[int]:
        for number in range(count):
            printed.append(capsys.readouterr().out)
            yield number

    show_array(items())
    text = "".join(printed) + capsys.readouterr().out
    assert list(range(count)) == json.loads(text)
    assert max(count, 1) == len(text.splitlines())
    assert (count > 2) == any(printed)


def test_lines_are_json_each(capsys: pytest.CaptureFixture[str]) -> None:
    show_lines([{"a": "ü"}, 2])
    assert capsys.readouterr().out == '{"a": "\\u00fc"}\n2\n'


@pytest.fixture
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as context:
        context.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_utc")
def test_a_time_in_a_column_has_the_year_only_where_it_is_another() -> None:
    assert column_time(129_601 * SECOND_NS, now_ns=150_000 * SECOND_NS) == "02 Jan 12:00:01"
    assert column_time(129_601 * SECOND_NS, now_ns=2 * YEAR_NS) == "1970-01-02 12:00"


@pytest.mark.parametrize("width", range(40, 100, 7))
def test_rows_fit_any_width_and_columns_that_can_be_spared_are_left_out(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [
        ("a-job-with-a-long-name", "waiting", "in 25d 09h", "30 2 * * MON-FRI", "until 24 Nov 14:30:00"),
        ("short", "paused", "", "@daily"),
    ]
    lines = shown(*rows, elastic=0, spare=(3, 2))
    assert max(map(len, lines)) <= width
    assert all("waiting" in line or "paused" in line for line in lines)
    assert lines[0].startswith("a-job-")


def test_a_column_is_left_out_before_the_last_cell_gets_too_short(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    slot = "Sat 2024-03-09 23:59:30-05:00"
    assert shown((slot, "in 15s", "probe"), elastic=2, spare=(1,)) == [f"{slot}  probe"]
    assert shown((slot, "in 15d 03h", ""), elastic=2, spare=(1,)) == [slot]


def test_a_spare_column_that_no_row_has_beside_its_last_cell_is_passed_over(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = ("a-job", "waiting", "in 25d 09h", "30 2 * * MON-FRI", "failed (exit code 3) after 10s")
    (line,) = shown(row, elastic=3, spare=(4, 2))
    assert len(line) <= 40
    assert "in 25d" not in line
    assert "failed" in line
