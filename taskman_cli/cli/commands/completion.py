"""`taskman completion`: the completion script of a shell, and the completions that it asks for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.errors import EXIT_FAILED

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")

#: Somebody has pressed the tab key and waits: whatever hangs, we leave after this long.
_PATIENCE_S = 2.0
#: bash lists what it is offered (tab, tab tab, ambiguous, unmodified): `COMP_TYPE` in bash(1).
_LISTING = frozenset({"9", "63", "33", "64"})
_GAP = "  -- "
#: The least room for a description.
_LEAST_WIDTH = 10


@click.command(
    "completion",
    cls=Command,
    examples={
        'eval "$(taskman completion bash)"': "in this shell only",
        "taskman completion fish > ~/.config/fish/completions/taskman.fish": "",
    },
)
@click.argument("shell", type=OneOf(SHELLS), metavar="|".join(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell.

    For bash, add `eval "$(taskman completion bash)"` to ~/.bashrc; for zsh, add the same line with zsh to
    ~/.zshrc; for fish, write the script to ~/.config/fish/completions/taskman.fish.
    """
    from taskman_cli.cli.support.completion_scripts import SCRIPTS

    click.echo(SCRIPTS[shell], nl=False)


def answer(app: click.Command, shell: str, arguments: list[str]) -> int:
    """Print what may follow, for the script of a shell; return the exit code."""
    if shell not in SHELLS:
        return EXIT_FAILED
    timer = threading.Timer(_PATIENCE_S, os._exit, [EXIT_FAILED])
    timer.daemon = True
    timer.start()
    try:
        lines = _for_bash(app) if shell == "bash" else _for_others(app, shell, arguments)
        click.echo("\n".join(lines))
    except Exception:
        return EXIT_FAILED  # there is nothing to offer, and no place to show an error
    finally:
        timer.cancel()
    return 0


def _for_bash(app: click.Command) -> list[str]:
    """Return the lines for bash, quoted, and with their descriptions if they are only listed."""
    from taskman_cli.cli.support.shell_words import read_line, written

    line = read_line(os.environ.get("_TASKMAN_LINE", ""), os.environ.get("_TASKMAN_BREAKS", ""))
    head, kind, items = _offers(app, line.words[1:], line.current)
    values = [written((head + item.value)[line.kept :], line.quote) for item in items]
    if len(items) < 2 or os.environ.get("_TASKMAN_TYPE") not in _LISTING:
        return [kind, *values]
    listed = _described(values, [item.help or "" for item in items])
    # More than half a line each, or bash puts several beside each other.
    return [kind, *(text.ljust(_columns() // 2 + 1) if text not in values else text for text in listed)]


def _columns() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() else 80


def _described(values: list[str], words: list[str]) -> list[str]:
    """Return the values with aligned descriptions, as wide as the terminal."""
    widest = max(map(len, values))
    room = _columns() - widest - len(_GAP) - 1
    if room < _LEAST_WIDTH:
        return values
    return [
        f"{value.ljust(widest)}{_GAP}{text if len(text) <= room else text[: room - 1] + '…'}"
        if text
        else value
        for value, text in zip(values, words, strict=True)
    ]


def _for_others(app: click.Command, shell: str, arguments: list[str]) -> list[str]:
    """Return the lines for zsh or fish, each with a tab and a description."""
    from taskman_cli.cli.support.shell_words import read_line

    *words, current = arguments or [""]
    if shell == "fish":
        current = read_line(current).current  # it gives this word as it is typed
    head, kind, items = _offers(app, words, current)
    values = [item.value for item in items]
    if shell == "fish":
        return [kind, *(f"{head}{item.value}\t{item.help or ''}" for item in items)]
    shown = _described(values, [item.help or "" for item in items]) if values else []
    return [kind, *(f"{value}\t{text}" for value, text in zip(values, shown, strict=True))]


def _offers(app: click.Command, words: list[str], current: str) -> tuple[str, str, list[CompletionItem[str]]]:
    """Return the beginning of the current word that stays, what follows, and what is offered."""
    from click.shell_completion import CompletionItem, ShellComplete

    from taskman_cli.core.escapes import printable

    head = ""
    if "--" not in words and current.startswith("--") and "=" in current:
        option, _, current = current.partition("=")
        words, head = [*words, option], f"{option}="
    found = ShellComplete(app, {}, "taskman", "").get_completions(words, current)
    kinds = {item.type for item in found} - {"plain"}
    if kinds:
        return head, kinds.pop(), []
    # A name that cannot be typed is not offered.
    typable = [item for item in found if item.value == printable(item.value)]
    return head, "plain", [CompletionItem(item.value, help=_line(item.help)) for item in typable]


def _line(text: str | None) -> str:
    """Return a description in one line, with control characters escaped."""
    from taskman_cli.core.escapes import printable

    return printable(" ".join((text or "").split()))
