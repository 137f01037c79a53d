"""The words of a command line that is being typed, as a shell takes them: quotes may still be open."""

from __future__ import annotations

import re
from typing import NamedTuple

#: What a backslash keeps its meaning before, inside of double quotes.
_ESCAPED_IN_QUOTES = frozenset('$`"\\')
#: Words of other characters are quoted.
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


class TypedLine(NamedTuple):
    """A command line up to the cursor."""

    #: The finished words, without quotes.
    words: list[str]
    #: The word at the cursor, without quotes; "" if none has begun.
    current: str
    #: The quote that is open at the cursor: ', " or nothing.
    quote: str
    #: How much of `current` is before the place where the shell puts what it is offered.
    kept: int


def read_line(line: str, breaks: str = "") -> TypedLine:
    """Split a line up to the cursor. A word also begins after a character of `breaks`, for bash."""
    words: list[str] = []
    current: list[str] = []
    quote, is_open, kept = "", False, 0
    characters = iter(line)
    for char in characters:
        if quote:
            if char == quote:
                quote, kept = "", len(current)
            elif char == "\\" and quote == '"':
                following = next(characters, "")
                current += following if following in _ESCAPED_IN_QUOTES else char + following
            else:
                current.append(char)
        elif char in " \t\n":
            if is_open:
                words.append("".join(current))
            current, is_open, kept = [], False, 0
            continue
        elif char == "\\":
            current += next(characters, "")
        elif char in "'\"":
            quote, kept = char, len(current)
        else:
            current.append(char)
            if char in breaks:
                kept = len(current)
        is_open = True
    return TypedLine(words, "".join(current), quote, kept)


def written(text: str, quote: str = "") -> str:
    """Write the rest of a word so that the shell reads it as this text; `quote` is the one that is open."""
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([$`"\\])', r"\\\1", text)
    return "".join(char if char > "\x7f" or _PLAIN.fullmatch(char) else f"\\{char}" for char in text)
