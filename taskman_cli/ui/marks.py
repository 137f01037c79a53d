"""How each state looks: a mark, a word and a colour, so that no one of them carries the meaning alone.

The colours are those of the first 16 that are legible on light and dark backgrounds: no yellow or white,
which are lost on light ones, and no blue or black, which are lost on dark ones. The marks are one cell wide.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.style import Style

from taskman_cli.core.model import State
from taskman_cli.ui.signs import SIGNS

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


RUNNING = Mark(SIGNS[State.RUNNING], ACTIVE)
#: A process or a scheduler that is stopping.
STOPPING = Mark(SIGNS[State.CANCELLED], WARN)
DUE = Mark(SIGNS[State.QUEUED], ACTIVE)

STATES = {
    State.QUEUED: DUE,
    State.RUNNING: RUNNING,
    State.SUCCEEDED: Mark(SIGNS[State.SUCCEEDED], GOOD),
    State.FAILED: Mark(SIGNS[State.FAILED], BAD),
    State.TIMED_OUT: Mark(SIGNS[State.TIMED_OUT], WARN),
    State.CANCELLED: Mark(SIGNS[State.CANCELLED], WARN),
    State.LOST: Mark(SIGNS[State.LOST], BAD),
    State.SKIPPED: Mark(SIGNS[State.SKIPPED], ACTIVE),
}


def word(state: State) -> str:
    """Return the word for a state."""
    return state.value.replace("_", " ")
