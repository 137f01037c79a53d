"""Characters that look like one of ASCII: what they are called, what to write, and where they matter."""

from __future__ import annotations

import pytest

from taskman_cli.core.lookalikes import find_in_command, find_look_alike, hint


@pytest.mark.parametrize(
    ("text", "offset", "name", "fix"),
    [
        ("a\u00a0b", 1, "no-break space (U+00A0)", "write a space"),
        ("\u3000", 0, "ideographic space (U+3000)", "write a space"),
        ("ab\u2014", 2, "em dash (U+2014)", "write -"),
        ("\u2212", 0, "minus sign (U+2212)", "write -"),
        ("\u201d", 0, "right double quotation mark (U+201D)", 'write "'),
        ("\u2019", 0, "right single quotation mark (U+2019)", "write '"),
        ("\u200b", 0, "zero width space (U+200B)", "remove it"),
        ("\ufeff", 0, "zero width no-break space (U+FEFF)", "remove it"),
        ("\uff15", 0, "fullwidth digit five (U+FF15)", "write 5"),
        ("\u2217", 0, "asterisk operator (U+2217)", "write *"),
    ],
)
def test_a_look_alike_is_named_with_what_to_write(text: str, offset: int, name: str, fix: str) -> None:
    assert find_look_alike(text) == (offset, name, fix)


@pytest.mark.parametrize("text", ["", "plain - text", "\u00e9", "\u4e00", "\udce9", "\n\t\x00", "\U0001f4a5"])
def test_an_ordinary_character_is_not_a_look_alike(text: str) -> None:
    assert find_look_alike(text) is None
    assert hint(text[:1]) == ""


@pytest.mark.parametrize(
    ("command", "offset"),
    [
        ("rm \u2013rf x", 3),
        ("ls \u2014all", 3),
        ("\u201ca b\u201d", 0),
        ("echo \u2018x\u2019", 5),
        ("a=\u201cx y\u201d", 2),
        ("echo\u00a0x", 4),
        ("echo 'x'\u00a0y", 8),
        ("echo x\u201d", 6),
        ("echo x\u200b", 6),
    ],
)
def test_a_look_alike_in_a_command_is_found_where_it_matters(command: str, offset: int) -> None:
    found = find_in_command(command)
    assert found is not None
    assert offset == found.offset


@pytest.mark.parametrize(
    "command",
    [
        "echo 'a \u201cb\u201d \u2013x'",
        'echo "no\u00a0break"',
        "echo \\\u00a0",
        "echo it\u2019s",
        "echo 1\u20135 \u2013 6",
        "echo \u2026",
        "echo caf\u00e9 \u2013",
    ],
)
def test_quoted_text_may_have_look_alikes(command: str) -> None:
    assert find_in_command(command) is None
