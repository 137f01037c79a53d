"""How each state looks: a mark, a word and a colour, so that none of them has to carry the meaning alone.

Only colours of the first 16 that are legible on light and dark backgrounds are used: no yellow or white (lost
on light), no blue or black (lost on dark). The marks are one cell wide and no emoji.
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
    """What stands before a word, and the colour of both."""

    sign: str
    style: Style


RUNNING = Mark("●", ACTIVE)
#: A process that is being stopped, or a scheduler that is.
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

#: For terminals that are not UTF-8 or lack the glyphs: every sign we draw, one cell for one cell.
ASCII = str.maketrans("●■▸○✓✗…━╸─╭╮╰╯│", "*#>o+x~=--++++|")


def word(state: State) -> str:
    """Return the state as it reads on the screen."""
    return state.value.replace("_", " ")
