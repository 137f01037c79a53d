r"""How text is shown that may hold anything: `\xe9` for a byte that is not UTF-8, `\x1b` for an escape.

Inside the program, arguments, paths, names and environments are text as Python's `surrogateescape` makes it:
a byte that is not UTF-8 is half a surrogate pair, and becomes the same byte again where it leaves. No
terminal and no log can be given that, nor what would drive a terminal.
"""

from __future__ import annotations

#: How `surrogateescape` writes the bytes 0x80 to 0xff.
_BYTES = range(0xDC80, 0xDD00)
_BYTE_OFFSET = 0xDC00
#: A quoted value in a message is cut at this many characters.
_LONGEST_QUOTE = 60


def printable(text: str, *, kept: str = "") -> str:
    """Write out all that cannot be shown as it is, except the characters in `kept`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else visible(char) for char in text)


def as_utf8(text: str) -> str:
    """Write out only what cannot be UTF-8."""
    return "".join(visible(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def in_ascii(text: str) -> str:
    """Write out foreign characters too: some look like others."""
    return "".join(char if char.isascii() and char.isprintable() else visible(char) for char in text)


def visible(char: str) -> str:
    r"""Write out one character that cannot be shown as it is: `\xe9`, `\n`, `\u2028`."""
    code = ord(char)
    return f"\\x{code - _BYTE_OFFSET:02x}" if code in _BYTES else ascii(char)[1:-1]


def quoted(text: str) -> str:
    """Put a value from the user into double quotes, as TOML would write it; a long one is cut."""
    if len(text) > _LONGEST_QUOTE:
        text = text[: _LONGEST_QUOTE - 1] + "…"
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    )


def quoted_ascii(text: str, *, longest: int = _LONGEST_QUOTE) -> str:
    """Put a value into double quotes with foreign characters written out; a long one is cut."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return f'"{in_ascii(shown)}"'


def has_odd_bytes(text: str) -> bool:
    """Tell whether a text stands for bytes that are not UTF-8."""
    return not text.isascii() and any(ord(char) in _BYTES for char in text)
