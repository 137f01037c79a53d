"""How text is shown that may hold anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.escapes import has_odd_bytes, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 日本", "plain é 日本"),
        ("caf\udce9", r"caf\xe9"),
        ("\udc80\udcff", r"\x80\xff"),
        ("\ud800\udfff", r"\ud800\udfff"),
        ("\x1b[31m\n\t\x7f", r"\x1b[31m\n\t\x7f"),
        ("\u202eabc\u2028", r"\u202eabc\u2028"),
        ("\U000e0001", r"\U000e0001"),
        ("", ""),
    ],
)
def test_what_cannot_be_shown_is_written_out(text: str, expected: str) -> None:
    assert expected == printable(text)


def test_some_characters_can_be_kept() -> None:
    assert "a\tb\\n" == printable("a\tb\n", kept="\t")


@given(st.binary())
def test_any_bytes_can_be_shown_as_utf8(data: bytes) -> None:
    shown = printable(data.decode("utf-8", "surrogateescape"))
    assert shown.isprintable()
    assert shown == shown.encode().decode()


@given(st.binary())
def test_odd_bytes_are_those_that_are_not_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        expected = True
    else:
        expected = False
    assert expected == has_odd_bytes(data.decode("utf-8", "surrogateescape"))
