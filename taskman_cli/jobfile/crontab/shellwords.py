"""The simple commands of a shell command, found without a shell: roughly, and only to name jobs.

Nothing is expanded, a word keeps its `$NAME`, and what cannot be followed is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Only the start of a command is looked at.
LOOKED_AT = 4000

#: A piece: quoted, substituted or plain text within a word; an operator; or space. Any text has a match.
_PIECE = re.compile(
    r"""(?P<space>(?:[ \t\r]|\\\n)+)
    |(?P<comment>(?<![^\s;&|(])\#[^\n]*)
    |(?P<redirect>[0-9]*(?:&>>?|>>|>\||>&|<<<|<<-?|<&|<>|>|<))
    |(?P<operator>&&|\|\||\|&|;;&?|[;&|\n(){}](?![\w$"'/]|(?<=\{)))
    |(?P<single>'[^']*'?)
    |(?P<double>"(?:[^"\\]|\\.)*+"?)
    |(?P<arithmetic>\$\(\((?:[^()]|\([^()]*\))*+\)\)|\$\(\([^;&|\n]*)
    |(?P<opaque>\$\{[^}]*\}?|\$\((?:[^()'"]|'[^']*'|"[^"]*"|\([^()]*\))*+\)?|`[^`]*`?)
    |(?P<escaped>\\.?)
    |(?P<bracket>[;&|\n(){}])
    |(?P<plain>[^\s'"`$\\;&|<>(){}]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=.*", re.DOTALL)
#: Words before a command that belong to the language.
_RESERVED_WORDS = "if then elif else fi do done while until ! time { } esac coproc"
_RESERVED = frozenset(_RESERVED_WORDS.split())
#: Words whose rest, up to the next separator, is no command.
_HEADERS = frozenset(["for", "case", "select", "function"])


@dataclass(slots=True)
class SimpleCommand:
    """A program with its arguments."""

    words: list[str] = field(default_factory=list)
    #: Files that its output goes to, or its input comes from.
    files: list[str] = field(default_factory=list)


def simple_commands(command: str) -> Iterator[SimpleCommand]:
    """Yield the simple commands of a shell command in order, without assignments and reserved words."""
    for found in _split(command[:LOOKED_AT]):
        words = found.words
        while words and (words[0] in _RESERVED or _ASSIGNMENT.fullmatch(words[0])):
            del words[0]
        if words and words[0] not in _HEADERS:
            yield found


def _split(text: str) -> Iterator[SimpleCommand]:
    found, word, is_file = SimpleCommand(), "", False
    is_word = False

    def end_word() -> None:
        nonlocal word, is_file, is_word
        if is_word:
            (found.files if is_file else found.words).append(word)
            is_file = False
        word, is_word = "", False

    for match in _PIECE.finditer(text):
        kind, piece = match.lastgroup, match[0]
        if kind in ("operator", "bracket") and not (is_word and piece in "{}"):
            end_word()
            yield found
            found, is_file = SimpleCommand(), False
        elif kind in ("space", "comment"):
            end_word()
        elif kind == "redirect":
            if is_word and word.isdigit():
                word, is_word = "", False
            end_word()
            is_file = True
        else:
            word += _text(kind, piece)
            is_word = True
    end_word()
    yield found


def _text(kind: str | None, piece: str) -> str:
    if kind in ("single", "double"):
        return piece[1:].removesuffix(piece[0])
    if kind == "escaped":
        return piece[1:]
    return piece
