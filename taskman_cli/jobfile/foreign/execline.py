"""systemd's command lines (`ExecStart=`), as commands for a shell.

After systemd.service(5), "Command lines": quotes, C escapes, `$NAME`, `${NAME}`, prefixes of a program.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"',
    "'": "'", "s": " ",
}  # fmt: skip
_NUMERIC = re.compile(
    r"x(?P<hex>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|(?P<octal>[0-7]{3})"
)
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<braced>[A-Za-z_]\w*)\})")
_ALONE = re.compile(r"\$[A-Za-z_]\w*")
#: What may stand before a program.
_PREFIXES = "-@:+!|"


class BadLine(ValueError):
    """A command line cannot be read."""


@dataclass(frozen=True, slots=True)
class ExecLine:
    """One command."""

    #: For a shell.
    command: str
    #: `-`: it does not matter whether it fails.
    may_fail: bool = False
    #: `+`, `!`: it runs with all rights, not as the user.
    is_privileged: bool = False


def read_exec(value: str) -> list[ExecLine]:
    """Return the commands of a value; raises BadLine."""
    found: list[list[tuple[str, bool]]] = [[]]
    for word in split_words(value):
        if word == (";", False):
            found.append([])
        else:
            found[-1].append((";", False) if word == ("\\;", False) else word)
    return [_command(words) for words in found if words]


def split_words(value: str) -> list[tuple[str, bool]]:
    """Return the words of a value, each with whether it was quoted."""
    words: list[tuple[str, bool]] = []
    at, end = 0, len(value)
    while at < end:
        if value[at].isspace():
            at += 1
            continue
        text, quote, is_quoted, start = "", "", False, at
        while at < end and (quote or not value[at].isspace()):
            char = value[at]
            if char == "\\" and not (value[at : at + 2] == "\\;" and at == start and not quote):
                piece, at = _escaped(value, at + 1)
                text += piece
            elif char == quote:
                quote, at = "", at + 1
            elif not quote and char in "\"'":
                quote, is_quoted, at = char, True, at + 1
            else:
                text += char
                at += 1
        if quote:
            raise BadLine("a quote is not closed")
        words.append((text, is_quoted))
    return words


def _escaped(value: str, at: int) -> tuple[str, int]:
    """Return the character of an escape, and where the text goes on."""
    if at >= len(value):
        raise BadLine("a backslash at the end")
    if match := _NUMERIC.match(value, at):
        base = 8 if match["octal"] else 16
        code = int(match["hex"] or match["u"] or match["U"] or match["octal"], base)
        if code == 0 or code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise BadLine("an escape that is no character")
        return chr(code), match.end()
    if value[at] not in _ESCAPES:
        return "\\" + value[at], at + 1  # systemd warns, and keeps it
    return _ESCAPES[value[at]], at + 1


def _command(words: list[tuple[str, bool]]) -> ExecLine:
    first = words[0][0]
    program = first.lstrip(_PREFIXES)
    prefixes = first[: len(first) - len(program)]
    rest = words[1:]
    if "@" in prefixes:
        rest = rest[1:]  # the name that the program is told to have
    if not program:
        raise BadLine("no program")
    if "|" in prefixes:
        command = shlex.quote(" ".join([program, *(word for word, _ in rest)]))
        return ExecLine(f"/bin/sh -lc {command}", "-" in prefixes, bool(set("+!") & set(prefixes)))
    is_plain = ":" in prefixes
    texts = [shlex.quote(program), *(shlex.quote(word) if is_plain else _word(word) for word, _ in rest)]
    return ExecLine(" ".join(texts), "-" in prefixes, bool(set("+!") & set(prefixes)))


def _word(word: str) -> str:
    """Write a word for a shell, with the variables that systemd puts in."""
    if _ALONE.fullmatch(word):
        return word  # systemd splits it too
    pieces, at = [], 0
    for match in _VARIABLE.finditer(word):
        pieces.append((word[at : match.start()], ""))
        pieces.append(("", match["braced"]) if match["braced"] else ("$", ""))
        at = match.end()
    pieces.append((word[at:], ""))
    if not any(name for _, name in pieces):
        return shlex.quote("".join(text for text, _ in pieces))
    return "".join(f'"${{{name}}}"' if name else shlex.quote(text) for text, name in pieces if name or text)
