"""Arguments and options that take one of a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from click.shell_completion import CompletionItem


class OneOf(click.Choice[str]):
    """One of some words, in any case."""

    def __init__(self, words: Iterable[str], about: Mapping[str, str] | None = None) -> None:
        """`about` describes words, for a shell that lists them."""
        super().__init__(list(words), case_sensitive=False)
        self._about = about or {}

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer the words with their descriptions."""
        from click.shell_completion import CompletionItem

        words = [str(word) for word in self.choices if str(word).startswith(incomplete.lower())]
        return [CompletionItem(word, help=self._about.get(word)) for word in words]

    def get_invalid_choice_message(self, value: str, ctx: click.Context | None) -> str:
        """Name the words, and the one that was probably meant."""
        from taskman_cli.core.escapes import quoted
        from taskman_cli.core.nearest import did_you_mean

        near = did_you_mean(value, self.choices)
        return f"{quoted(value)} is not one of {', '.join(self.choices)}{near}"
