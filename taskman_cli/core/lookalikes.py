"""Characters that look like one of ASCII and are another: pasted from web pages, chats and word processors.

No shell and no grammar of ours takes a no-break space for a blank, or an en dash for the hyphen of an option.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_QUOTES = {
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4", "'"),
}
_OTHERS = {"\u2217": "*", "\u204e": "*", "\u2044": "/", "\u2215": "/", "\u2212": "-", "\u00ad": "-"}
#: Between them everything stands for itself.
_IN_QUOTES = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_DASH = "[\u2010-\u2015\u2212]"
_OPENING, _CLOSING = "[\u201c\u201d\u201e\u2018\u2019\u201a]", "[\u201c\u201d\u2018\u2019]"
_OPTION = re.compile(f"{_DASH}+[A-Za-z]")
_UNSEEN = "[\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]"
_IN_COMMAND = re.compile(
    rf"(?:^|(?<=[ \t=]))(?:{_DASH}+(?=[A-Za-z])|{_OPENING})|{_CLOSING}(?=[ \t]|$)|{_UNSEEN}"
)


class LookAlike(NamedTuple):
    """One such character."""

    #: Where in the text, from 0.
    offset: int
    #: The character by its name and number, and what to write instead.
    name: str
    fix: str


def look_alike(char: str) -> str | None:
    """Return what a character looks like: one of ASCII, or "" for one that is not seen; None: like itself."""
    if char.isascii() or not char:
        return None
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Pd":
        return "-"
    if found := _QUOTES.get(char) or _OTHERS.get(char):
        return found
    if category == "Cf":
        return ""
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() else None


def find_look_alike(text: str) -> LookAlike | None:
    """Find the first of them in a text that should have none."""
    for offset, char in enumerate(text):
        if look_alike(char) is not None:
            return described(char, offset)
    return None


def find_in_command(command: str) -> LookAlike | None:
    """Find the first in a command for the shell that stands where one of ASCII would mean something.

    Text in quotes may have any of them.
    """
    bare = _IN_QUOTES.sub(lambda match: "x" * len(match[0]), command)
    match = _IN_COMMAND.search(bare)
    return described(command[match.start()], match.start()) if match else None


def find_dash(word: str) -> LookAlike | None:
    """Find it where a word would be an option, had it a hyphen."""
    return described(word[0], 0) if _OPTION.match(word) else None


def described(char: str, offset: int) -> LookAlike:
    """Name a character, and say what to write instead."""
    name = f"{unicodedata.name(char, 'a character').lower()} (U+{ord(char):04X})"
    meant = look_alike(char)
    if meant == "":
        return LookAlike(offset, name, "remove it")
    return LookAlike(offset, name, "write a space" if meant == " " else f"write {meant}")


def hint(char: str) -> str:
    """Return what to add where a character is not understood; "" for one that looks like itself."""
    if look_alike(char) is None:
        return ""
    found = described(char, 0)
    return f", {found.name}: {found.fix}"
