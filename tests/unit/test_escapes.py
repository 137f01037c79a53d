"""How text is shown that may hold anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.escapes import as_utf8, has_odd_bytes, in_ascii, printable, quoted, quoted_ascii
from taskman_cli.ledger import values
from taskman_cli.ledger.writable import writable
from taskman_cli.supervisor import voice

if TYPE_CHECKING:
    from collections.abc import Callable


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
def test_unprintable_characters_are_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("text", "kept", "plain"),
    [
        ("caf\udce9\n", "caf\\xe9\n", r"caf\xe9\n"),
        ("caf\u00e9", "caf\u00e9", r"caf\xe9"),
        ("\u0430\ud800", "\u0430\\ud800", r"\u0430\ud800"),
        ("plain\\", "plain\\", "plain\\"),
    ],
    ids=ascii,
)
def test_escaping_can_be_limited_to_invalid_utf8_or_cover_all_non_ascii(
    text: str, kept: str, plain: str
) -> None:
    assert (kept, plain) == (as_utf8(text), in_ascii(text))


def test_some_characters_can_be_kept() -> None:
    assert printable("a\tb\n", kept="\t") == "a\tb\\n"


@given(st.binary())
def test_any_bytes_can_be_shown_as_utf8(data: bytes) -> None:
    shown = printable(data.decode("utf-8", "surrogateescape"))
    assert shown.isprintable()
    assert shown == shown.encode().decode()


@pytest.mark.parametrize(("text", "expected"), [("e", False), ("é", False), ("e\udcc3", True)])
def test_what_surrogateescape_has_made_is_odd_bytes(text: str, expected: bool) -> None:
    assert has_odd_bytes(text) == expected


@given(st.binary())
def test_odd_bytes_are_those_that_are_not_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        expected = True
    else:
        expected = False
    assert has_odd_bytes(data.decode("utf-8", "surrogateescape")) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (lambda: values.shown("caf\udce9"), r"'caf\xe9'"),
        (lambda: values.shown("\u0430\ud800"), r"'\u0430\ud800'"),
        (lambda: writable("caf\udce9\n"), "caf\\xe9\n"),
        (lambda: quoted_ascii("caf\udce9"), r'"caf\xe9"'),
        (lambda: voice.visible("\udce9"), r"\xe9"),
        (lambda: voice.visible("\u2028"), r"\u2028"),
    ],
    ids=["a value", "a foreign one", "a record", "a schedule", "a byte", "a line's end"],
)
def test_a_byte_is_shown_in_the_same_way_everywhere(shown: Callable[[], str], expected: str) -> None:
    assert shown() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a "b"\n\tc\\', '"a \\"b\\"\\n\\tc\\\\"'),
        ("ä" * 60, '"' + "ä" * 60 + '"'),
        ("ä" * 61, '"' + "ä" * 59 + '…"'),
    ],
    ids=["special characters", "just short enough", "too long"],
)
def test_a_quoted_value_is_written_as_toml_would_write_it(text: str, expected: str) -> None:
    assert quoted(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ä", '"\\xe4"'), ("a" * 60, f'"{"a" * 60}"'), ("a" * 61, f'"{"a" * 57}..."')],
    ids=["a foreign letter", "just short enough", "too long"],
)
def test_a_value_quoted_in_ascii_escapes_look_alikes(text: str, expected: str) -> None:
    assert quoted_ascii(text) == expected
