r"""How arbitrary text is shown: `\xe9` for a byte that is not UTF-8, `\x1b` for an escape.

Inside the program, arguments, paths, names and environments are decoded with `surrogateescape`: a byte that
is not UTF-8 becomes a lone surrogate, and the same byte again on output. Terminals and logs must get neither
those nor control characters.
"""

from __future__ import annotations

#: How `surrogateescape` writes the bytes 0x80 to 0xff.
_BYTES = range(0xDC80, 0xDD00)
_BYTE_OFFSET = 0xDC00
#: Quoted values in messages are truncated to this many characters.
_LONGEST_QUOTE = 60


def printable(text: str, *, kept: str = "") -> str:
    """Escape everything that is not printable, except the characters in `kept`."""
    rest = text
    for char in kept:
        rest = rest.replace(char, "")
    if rest.isprintable():  # nearly always, and much faster than to look at each character
        return text
    return "".join(char if char.isprintable() or char in kept else visible(char) for char in text)


def as_utf8(text: str) -> str:
    """Escape only what cannot be encoded as UTF-8."""
    return "".join(visible(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def in_ascii(text: str) -> str:
    """Escape everything outside printable ASCII, since some characters look like others."""
    return "".join(char if char.isascii() and char.isprintable() else visible(char) for char in text)


def visible(char: str) -> str:
    r"""Escape one character that is not printable: `\xe9`, `\n`, `\u2028`."""
    code = ord(char)
    return f"\\x{code - _BYTE_OFFSET:02x}" if code in _BYTES else ascii(char)[1:-1]


def quoted(text: str) -> str:
    """Put a value from the user in double quotes, as TOML does; a long one is truncated."""
    if len(text) > _LONGEST_QUOTE:
        text = text[: _LONGEST_QUOTE - 1] + "…"
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    )


def quoted_ascii(text: str, *, longest: int = _LONGEST_QUOTE) -> str:
    """Put a value in double quotes, with non-ASCII characters escaped; a long one is truncated."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return f'"{in_ascii(shown)}"'


def has_odd_bytes(text: str) -> bool:
    """Tell whether a text contains bytes that are not UTF-8."""
    return not text.isascii() and any(ord(char) in _BYTES for char in text)
