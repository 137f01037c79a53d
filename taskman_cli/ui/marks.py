"""How each state looks: a mark, a word and a colour, so that no one of them carries the meaning alone.

The colours are those of the first 16 that are legible on light and dark backgrounds: no yellow or white,
which are lost on light ones, and no blue or black, which are lost on dark ones. The marks are one cell wide.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.style import Style

from taskman_cli.core.model import State

BOLD = Style(bold=True)
QUIET = Style(dim=True)
GOOD = Style(color="green")
BAD = Style(color="red")
WARN = Style(color="magenta")
ACTIVE = Style(color="cyan")


class Mark(NamedTuple):
    """The sign before a word, and the colour of both."""

    sign: str
    style: Style


RUNNING = Mark("●", ACTIVE)
#: A process or a scheduler that is stopping.
STOPPING = Mark("■", WARN)
DUE = Mark("▸", ACTIVE)

STATES = {
    State.QUEUED: DUE,
    State.RUNNING: RUNNING,
    State.SUCCEEDED: Mark("✓", GOOD),
    State.FAILED: Mark("✗", BAD),
    State.TIMED_OUT: Mark("!", WARN),
    State.CANCELLED: Mark("■", WARN),
    State.LOST: Mark("?", BAD),
    State.SKIPPED: Mark("○", ACTIVE),
}

#: ASCII for every sign that is drawn, for terminals without UTF-8 or without the glyphs.
ASCII = str.maketrans("●■▸○✓✗…━╸─╭╮╰╯│", "*#>o+x~=--++++|")


def word(state: State) -> str:
    """Return the word for a state."""
    return state.value.replace("_", " ")
