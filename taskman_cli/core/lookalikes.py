"""Characters that look like ASCII ones but are not: pasted from web pages, chats and word processors.

Neither shells nor our grammars treat a no-break space as a space, or an en dash as the hyphen of an option.
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
#: Quoted text, in which everything is literal.
_IN_QUOTES = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_DASH = "[\u2010-\u2015\u2212]"
_OPENING, _CLOSING = "[\u201c\u201d\u201e\u2018\u2019\u201a]", "[\u201c\u201d\u2018\u2019]"
_OPTION = re.compile(f"{_DASH}+[A-Za-z]")
_UNSEEN = "[\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]"
_IN_COMMAND = re.compile(
    rf"(?:^|(?<=[ \t=]))(?:{_DASH}+(?=[A-Za-z])|{_OPENING})|{_CLOSING}(?=[ \t]|$)|{_UNSEEN}"
)


class LookAlike(NamedTuple):
    """A look-alike character."""

    #: Its offset in the text.
    offset: int
    #: The character by its name and number, and what to write instead.
    name: str
    fix: str


def look_alike(char: str) -> str | None:
    """Return the ASCII character that a character looks like, "" if it is invisible; None if neither."""
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
    """Find the first look-alike in a text."""
    for offset, char in enumerate(text):
        if look_alike(char) is not None:
            return described(char, offset)
    return None


def find_in_command(command: str) -> LookAlike | None:
    """Find the first look-alike in a shell command at a place where the ASCII character is special.

    Quoted text may contain any of them.
    """
    bare = _IN_QUOTES.sub(lambda match: "x" * len(match[0]), command)
    match = _IN_COMMAND.search(bare)
    return described(command[match.start()], match.start()) if match else None


def find_dash(word: str) -> LookAlike | None:
    """Find the dash of a word that was probably meant as an option."""
    return described(word[0], 0) if _OPTION.match(word) else None


def described(char: str, offset: int) -> LookAlike:
    """Return a look-alike with its name and fix."""
    name = f"{unicodedata.name(char, 'a character').lower()} (U+{ord(char):04X})"
    meant = look_alike(char)
    if meant == "":
        return LookAlike(offset, name, "remove it")
    return LookAlike(offset, name, "write a space" if meant == " " else f"write {meant}")


def hint(char: str) -> str:
    """Return a hint for a message about an unexpected character; "" if it is not a look-alike."""
    if look_alike(char) is None:
        return ""
    found = described(char, 0)
    return f", {found.name}: {found.fix}"
