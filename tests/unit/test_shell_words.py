"""Command lines that are being typed, split as a shell would, with quotes that may still be open."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.cli.support.shell_words import read_line, written

BREAKS = " \t\n\"'><=;|&(:"


@pytest.mark.parametrize(
    ("line", "words", "current", "quote", "kept"),
    [
        pytest.param("", [], "", "", 0, id="nothing"),
        pytest.param("a b", ["a"], "b", "", 0, id="two words"),
        pytest.param("a ", ["a"], "", "", 0, id="a new word"),
        pytest.param("a  \tb", ["a"], "b", "", 0, id="several blanks"),
        pytest.param("a 'b c", ["a"], "b c", "'", 0, id="an open quote"),
        pytest.param("a 'b c'", ["a"], "b c", "", 3, id="a closed quote"),
        pytest.param("a 'b c' ", ["a", "b c"], "", "", 0, id="a finished word in quotes"),
        pytest.param("a '' ", ["a", ""], "", "", 0, id="an empty word"),
        pytest.param('a "b\\"c', ["a"], 'b"c', '"', 0, id="an escape in quotes"),
        pytest.param('a "b\\c', ["a"], "b\\c", '"', 0, id="no escape in quotes"),
        pytest.param("a b\\ c", ["a"], "b c", "", 0, id="an escaped blank"),
        pytest.param("a b\\", ["a"], "b", "", 0, id="half an escape"),
        pytest.param("a b:c", ["a"], "b:c", "", 2, id="a break"),
        pytest.param("a b\\:c", ["a"], "b:c", "", 0, id="an escaped break"),
        pytest.param("a 'b:c", ["a"], "b:c", "'", 0, id="a break in quotes"),
        pytest.param("a --x=y", ["a"], "--x=y", "", 4, id="an option"),
        pytest.param("a b'c", ["a"], "bc", "'", 1, id="a quote in a word"),
    ],
)
def test_a_line_is_split_as_bash_sees_it(
    line: str, words: list[str], current: str, quote: str, kept: int
) -> None:
    assert read_line(line, BREAKS) == (words, current, quote, kept)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), min_size=1))
def test_what_shlex_has_quoted_is_read_back(words: list[str]) -> None:
    line = read_line(shlex.join(words))
    assert [*line.words, line.current] == words


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n")), st.sampled_from(["", "'", '"']))
def test_what_is_written_is_read_back(text: str, quote: str) -> None:
    assert read_line(quote + written(text, quote)).current == text
