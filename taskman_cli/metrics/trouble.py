"""Tells of a trouble once, not each time that it is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Trouble:
    """What is wrong with one thing now."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        """`tell` gets a level and words."""
        self._tell = tell
        self._known = ""

    def bad(self, words: str, *, level: str = "error") -> None:
        """Tell of a trouble, unless it is known."""
        if words != self._known:
            self._known = words
            self._tell(level, words)

    def good(self, words: str) -> None:
        """Tell that it is over, if there was one."""
        if self._known:
            self._known = ""
            self._tell("info", words)
