"""Names for the jobs of a crontab, derived from their commands, so the same at every reading."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 40
#: Only the start of a command is used for its name.
_LOOKED_AT = 4000
_SEPARATOR = re.compile(r"&&|\|\||[;|&{}()\n]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")
_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that prepare for a command, or test whether it should run.
_PREPARING = _words("cd test [ [[ export set umask sleep command if then : true source")
#: Programs that run another command, which gives the name.
_WRAPPING = _words("sudo nice ionice nohup time env exec timeout flock chronic setsid chrt")
#: Their options that take a value.
_WITH_VALUE = _words("-u -g -n -c -k -s -w")
#: Programs that say little without their arguments.
_GENERIC = _words(
    "run-parts sh bash dash zsh python python3 perl php ruby node make find systemctl service git"
)


def name_of(command: str, *, prefix: str = "") -> str:
    """Derive a name from a command; `prefix` is that of its file."""
    words = next((words for words in _simple_commands(command[:_LOOKED_AT]) if words), [])
    parts = [_part(word) for word in words[:1]]
    if words and parts[0] in _GENERIC:
        parts += [_part(word) for word in words[1:] if not word.startswith(("-", "+", "'", '"', "$"))][:1]
    name = "-".join(part for part in parts if part)
    if prefix and name != prefix and not name.startswith(f"{prefix}-"):
        name = f"{prefix}-{name}" if name else prefix
    return _clean(name)[:_LONGEST].strip("-_") or "job"


def unique(name: str, taken: dict[str, int]) -> str:
    """Return the name, with a number if it is taken, and mark it as taken.

    `taken` maps each name to the highest number given to it.
    """
    found, number = name, taken.get(name, 1)
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken[name] = number
    taken[found] = taken.get(found, 1)
    return found


def _simple_commands(command: str) -> Iterator[list[str]]:
    """Yield the words of each command that does not merely prepare another."""
    for text in _SEPARATOR.split(command):
        words = [word for word in text.split() if not _VARIABLE.fullmatch(word)]
        while words and words[0].rpartition("/")[2] in _WRAPPING:
            words = _wrapped(words)
        if words and words[0] not in _PREPARING:
            yield words


def _wrapped(words: list[str]) -> list[str]:
    """Remove a wrapper and what are probably its own arguments: `-n 10`, `5m`."""
    wrapper, *words = words
    is_lock = wrapper.rpartition("/")[2] == "flock"
    while words and (words[0].startswith("-") or re.fullmatch(r"[0-9.]+[a-z]?", words[0])):
        words = words[2 if words[0] in _WITH_VALUE and not is_lock else 1 :]
    return words[1:] if is_lock else words


def _part(word: str) -> str:
    """Return the last part of a path, without a suffix such as .sh."""
    name = PurePosixPath(word.strip("'\"`$<>")).name
    return _clean(re.sub(r"\.(sh|py|pl|php|rb|js)$", "", name))


def _clean(text: str) -> str:
    return _STRANGE.sub("-", text).strip("-_")
