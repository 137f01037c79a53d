"""The documents as data: pages, fenced blocks, terminal sessions, tables; for the tests of the documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from taskman_cli.cli.app import COMMANDS, app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_NAMES = ("README.md", "SECURITY.md", "CONTRIBUTING.md")
PATHS = (*(ROOT / name for name in _NAMES), *sorted((ROOT / "docs").glob("*.md")))
#: The text of each page by its path from the root.
PAGES = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in PATHS}
README = PAGES["README.md"]
MAN_PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "man").glob("*.[1-8]"))}

#: Options that are described once, for all commands.
COMMON = {"-i", "--instance", "--state-dir"}


class Block(NamedTuple):
    """A fenced block: its page, the words behind the fence, its text."""

    page: str
    info: str
    text: str


def blocks(language: str) -> list[Block]:
    """Return the fenced blocks in a language, of all pages."""
    return [
        Block(page, f"{language}{rest}", body)
        for page, text in PAGES.items()
        for rest, body in re.findall(rf"^```{language}( \w+)?\n(.*?)^```$", text, re.M | re.S)
    ]


def steps(session: str) -> list[tuple[str, str]]:
    """Return each command of a terminal session with the output that it is said to have."""
    parts = re.split(r"^\$ ", session, flags=re.M)[1:]
    return [(line, output) for line, _, output in (part.partition("\n") for part in parts)]


def calls() -> list[tuple[str, str]]:
    """Return the calls of `taskman` on all pages, without the program: in blocks, and in code in a text."""
    found = []
    for page, text in PAGES.items():
        fenced = re.findall(r"^```(?:sh|console|text)\b.*?\n(.*?)^```$", text, re.M | re.S)
        lines = [line for body in fenced for line in re.findall(r"(?:^|\$ )taskman ([a-z].*)$", body, re.M)]
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        lines += [" ".join(code.split()) for code in re.findall(r"`taskman ([a-z][^`]*)`", prose)]
        found += [(page, line) for line in lines]
    return sorted(set(found))


def section(page: str, heading: str) -> str:
    """Return the part of a page under a heading, without what is under headings below it."""
    return re.split(rf"^#+ {re.escape(heading)}$", PAGES[page], flags=re.M)[1].split("\n#")[0]


def first_column(text: str) -> list[str]:
    """Return the cells of the first column of the tables in a text that are code."""
    return [cell.strip() for cell in re.findall(r"^\| (`.*?) \|", text, re.M)]


def codes(text: str) -> list[str]:
    """Return what is marked as code in a text."""
    return re.findall(r"`([^`]+)`", text)


def options(name: str) -> set[str]:
    """Return every spelling of every option of a command, except for --help, which all have."""
    return set(_options(command(name)))


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (*parameter.opts, *parameter.secondary_opts)


def command(name: str) -> click.Command:
    """Return a command by its name."""
    found = app.get_command(click.Context(app), name)
    assert found is not None, name
    return found


#: The commands that take none of the options that are described once.
WITHOUT_COMMON = {name for name in COMMANDS if not COMMON & options(name)}
