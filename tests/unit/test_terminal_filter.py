"""What a terminal gets of a command's output."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.cli.support.terminal_filter import TerminalFilter


def shown(*pieces: bytes) -> str:
    screen = TerminalFilter()
    return "".join([*map(screen.feed, pieces), screen.end()])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain\tcaf\xc3\xa9\n", "plain\tcaf\u00e9\n"),
        (b"ends in CR LF\r\n", "ends in CR LF\r\n"),
        (b"\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n"),
        (b"\x1b[38:5:9mred\x1b[m", "\x1b[38:5:9mred\x1b[m"),
        (b"\x1b[31mred", "\x1b[31mred\x1b[0m"),
        (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        (b"\x1b[2J\x1b[6n", r"\x1b[2J\x1b[6n"),
        (b"\x1b[?25l\x1bPq", r"\x1b[?25l\x1bPq"),
        (b"good\rbad", r"good\rbad"),
        (b"a\x08b\x00\x7f", r"a\x08b\x00\x7f"),
        (b"\xc2\x9b31m", r"\x9b31m"),
        (b"caf\xe9", r"caf\xe9"),
        ("\u202eabc".encode(), r"\u202eabc"),
        (b"\x1b", r"\x1b"),
        (b"\x1b[31", r"\x1b[31"),
        (b"\r", r"\r"),
        (b"\xc3", r"\xc3"),
        (b"\x1b[" + b"1" * 70 + b"m", r"\x1b[" + "1" * 70 + "m"),
    ],
    ids=ascii,
)
def test_text_and_colours_are_shown_and_all_else_is_written_out(data: bytes, expected: str) -> None:
    assert shown(data) == expected
    assert shown(*(data[index : index + 1] for index in range(len(data)))) == expected


_PIECES = st.sampled_from(
    [b"\x1b", b"[", b"3", b";", b"m", b"]", b"\x07", b"\r", b"\n", b"a", b"\xc3", b"\xa9"]
)


@given(st.lists(_PIECES | st.binary(max_size=3), max_size=30))
def test_wherever_an_output_is_cut_the_same_is_shown_and_it_is_safe(pieces: list[bytes]) -> None:
    found = shown(b"".join(pieces))
    assert found == shown(*pieces)
    rest = re.sub(r"\x1b\[[0-9;:]*m|\r\n|[\n\t]", "", found)
    assert rest.isprintable()
