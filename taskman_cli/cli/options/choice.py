"""Arguments and options that take one of a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


class OneOf(click.Choice[str]):
    """One of some words, in any case."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(list(words), case_sensitive=False)

    def get_invalid_choice_message(self, value: str, ctx: click.Context | None) -> str:
        """Name the words, and the one that was probably meant."""
        from taskman_cli.core.escapes import quoted
        from taskman_cli.core.nearest import did_you_mean

        near = did_you_mean(value, self.choices)
        return f"{quoted(value)} is not one of {', '.join(self.choices)}{near}"
