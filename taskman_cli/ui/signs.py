"""The sign of each state, one cell wide, and ASCII for what is drawn. Without Rich, for small commands."""

from __future__ import annotations

from taskman_cli.core.model import State

SIGNS = {
    State.QUEUED: "▸",
    State.RUNNING: "●",
    State.SUCCEEDED: "✓",
    State.FAILED: "✗",
    State.TIMED_OUT: "!",
    State.CANCELLED: "■",
    State.LOST: "?",
    State.SKIPPED: "○",
}
TIMES = "×"
#: From nothing to the most, as a strip has them.
HEAT = "·▁▂▃▄▅▆▇█"

#: ASCII for every sign that is drawn, for terminals without UTF-8 or without the glyphs.
ASCII = str.maketrans("●■▸○✓✗…━╸─╭╮╰╯│×·▁▂▃▄▅▆▇█", "*#>o+x~=--++++|x.:-=+*#%@")
