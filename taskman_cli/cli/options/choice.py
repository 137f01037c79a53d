"""Arguments and options that take one of a few words, or some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


class SomeOf(click.ParamType[tuple[str, ...]]):
    """Some of a few words, separated by commas; the value is a tuple of them in the given order."""

    name = "words"

    def __init__(self, words: Iterable[str]) -> None:
        self._one = OneOf(words)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read the words; the error names the wrong one, and the one that was probably meant."""
        if isinstance(value, tuple):
            return value
        words = (word.strip() for word in value.split(","))
        return tuple(dict.fromkeys(self._one.convert(word, param, ctx) for word in words))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Offer the words that can come next."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        found = self._one.shell_complete(ctx, param, last)
        return [CompletionItem(f"{before}{comma}{item.value}") for item in found if item.value not in given]
