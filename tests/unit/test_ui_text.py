"""Foreign text on the screen: harmless, on one line, and exactly as wide as it says."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment

from taskman_cli.ui.grid import Column, plan
from taskman_cli.ui.panel import Decoration, Panel, decorated, share
from taskman_cli.ui.text import cut, fit, label, line_width, plain, width_of

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain [bold]text[/]", "plain [bold]text[/]"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("set -e\n  make\tall\r\n", "set -e make all "),
        ("bell\x07 delete\x7f csi\x9b", r"bell\x07 delete\x7f csi\x9b"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("not UTF-8: \udcff", r"not UTF-8: \xff"),
        ("日本語", "日本語"),
        ("e\u0301", "é"),
        ("\N{WOMAN}\u200d\N{ROCKET}\ufe0f", "\N{WOMAN}\N{ROCKET}"),
    ],
)
def test_characters_that_control_a_terminal_are_escaped(text: str, expected: str) -> None:
    assert plain(text) == expected


@given(ANY_TEXT)
def test_plain_text_has_no_control_characters(text: str) -> None:
    result = plain(text)
    assert not [c for c in result if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}]
    result.encode("utf-8")


@given(ANY_TEXT, st.integers(-1, 30))
def test_cut_text_is_at_most_as_wide_as_asked(text: str, width: int) -> None:
    whole = plain(text)
    result = cut(whole, width)
    assert width_of(result) <= max(width, 0)
    assert result == whole or width <= 0 or result.endswith("…")


def test_a_wide_character_is_not_cut_in_half() -> None:
    assert [cut("日本語", 1), cut("日本語", 4), cut("日本語", 5)] == ["…", "日 …", "日本…"]


@given(st.lists(ANY_TEXT, max_size=4), st.integers(0, 30), st.booleans())
def test_a_fitted_line_is_exactly_as_wide_as_asked(texts: list[str], width: int, right: bool) -> None:
    assert width == line_width(fit([Segment(plain(text)) for text in texts], width, right=right))


def test_a_megabyte_of_text_becomes_a_label() -> None:
    assert label("x" * 1_000_000, most=10) == "x" * 9 + "…"


def test_columns_are_left_out_by_rank_and_grow_in_their_order() -> None:
    columns = (Column(4, 6), Column(4, 100, rank=1), Column(5, 5, right=True, rank=2))
    assert [plan(columns, w).widths for w in (22, 11, 8, 3)] == [(6, 7, 5), (6, 4, 0), (6, 0, 0), (4, 0, 0)]


def test_columns_shrink_before_one_is_left_out() -> None:
    columns = (Column(4, 4), Column(4, 4, rank=1))
    assert [plan(columns, 10).gap, plan(columns, 9).gap] == ["  ", " "]
    assert plan(columns, 9).widths == (4, 4)


@given(st.integers(-3, 60), st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_rows_are_distributed_evenly_and_none_is_wasted(available: int, wants: list[int]) -> None:
    shares = share(available, wants)
    assert sum(shares) == max(min(available, sum(wants)), 0)
    assert all(got <= want for got, want in zip(shares, wants, strict=True))
    hungry = [got for got, want in zip(shares, wants, strict=True) if got < want]
    assert not hungry or max(shares) - min(hungry) <= 1


@pytest.mark.parametrize("decoration", Decoration)
@pytest.mark.parametrize("width", [5, 12, 30, 60])
def test_a_panel_is_as_large_as_asked_in_every_decoration(decoration: Decoration, width: int) -> None:
    panel = Panel(title="A long title", info="3 ready", lines=[[Segment("row" * 30)]] * 9, more=1234)
    lines = decorated(panel, width=width, rows=4, decoration=decoration)
    assert {width} == {line_width(line) for line in lines}
    assert 4 + decoration.rows == len(lines)


def test_of_two_notes_the_number_of_hidden_rows_stays() -> None:
    panel = Panel(title="Workers", info="3 ready, 1 to retry", lines=[], more=12)
    wide, narrow = (decorated(panel, width=w, rows=0, decoration=Decoration.RULE)[0] for w in (50, 30))
    assert text_of(wide) == "Workers ─────────── 3 ready, 1 to retry, … 12 more"
    assert text_of(narrow) == "Workers ──────────── … 12 more"


def text_of(line: list[Segment]) -> str:
    return "".join(segment.text for segment in line)
