"""The class of all commands: a click command whose help ends with examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Short names of commands, as other programs call them.
ALIASES = {"ps": "status", "ls": "list", "logs": "log", "kill": "cancel", "rm": "remove"}


def aliases_of(name: str | None) -> list[str]:
    """Return the short names of a command."""
    return [alias for alias, command in ALIASES.items() if command == name]


class Command(click.Command):
    """A click command with examples: command lines, each with a comment or ""."""

    def __init__(self, *args: Any, examples: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, and its short name if it has one."""
        super().format_help_text(ctx, formatter)
        if aliases := aliases_of(self.name):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"Short: taskman {', taskman '.join(aliases)}")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples after the options, with their comments aligned; none is wrapped."""
        width = max(len(line) for line, comment in self.examples.items() if comment or not self._has_comments)
        with formatter.section("Examples"):
            for line, comment in self.examples.items():
                text = f"{line.ljust(width)}  # {comment}" if comment else line
                formatter.write(f"  {text}\n")

    @property
    def _has_comments(self) -> bool:
        return any(self.examples.values())
