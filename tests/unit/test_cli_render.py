"""The renderer: tables, JSON and times."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest

from taskman_cli.cli.render import day_and_time, note, show, table
from taskman_cli.core.clock import SECOND_NS, wall_time

NEW_YORK = ZoneInfo("America/New_York")
#: 2024-03-10T07:00:00Z, the instant at which New York's clocks went from 02:00 to 03:00.
CHANGE_NS = 1_710_054_000 * SECOND_NS


def test_a_table_aligns_all_columns_without_trailing_blanks() -> None:
    rows = [("a", "long word", "x"), ("longer", "b", "")]
    assert table(rows) == "a       long word  x\nlonger  b"


def test_a_table_without_rows_is_empty() -> None:
    assert table([]) == ""


def test_show_prints_the_rows_or_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"jobs": ["Zürich", "\udcff"]}
    show(document, [("Zürich", "1")], as_json=False)
    assert capsys.readouterr().out == "Zürich  1\n"
    show(document, [("Zürich", "1")], as_json=True)
    printed = capsys.readouterr().out
    assert json.loads(printed) == document
    assert printed.isascii(), "JSON reads the same in every encoding"


def test_show_prints_nothing_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show({}, [], as_json=False)
    assert capsys.readouterr().out == ""


def test_a_note_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    note("nothing to do")
    assert capsys.readouterr() == ("", "taskman: nothing to do\n")


@pytest.mark.parametrize(
    ("at_ns", "expected"),
    [
        pytest.param(CHANGE_NS - SECOND_NS, "Sun 2024-03-10 01:59:59-05:00", id="before a clock change"),
        pytest.param(CHANGE_NS, "Sun 2024-03-10 03:00:00-04:00", id="after it"),
        pytest.param(
            CHANGE_NS + SECOND_NS // 4, "Sun 2024-03-10 03:00:00.250000-04:00", id="a part of a second"
        ),
        pytest.param(-SECOND_NS, "Wed 1969-12-31 18:59:59-05:00", id="before 1970"),
        pytest.param(
            -5_000_000_000 * SECOND_NS, "Tue 1811-07-23 10:10:38-04:56:02", id="an offset with seconds"
        ),
    ],
)
def test_a_time_shows_weekday_date_time_and_offset(at_ns: int, expected: str) -> None:
    assert day_and_time(wall_time(at_ns, NEW_YORK)) == expected
