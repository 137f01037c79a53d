"""Turns lines into text with the codes of their styles, as Rich's console does, but knows where lines end.

Rich would find that out anew for each frame, which takes as long as half of all the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import ColorSystem

if TYPE_CHECKING:
    from rich.style import Style

    from taskman_cli.ui.text import Line


class Ink:
    """The codes of one terminal."""

    def __init__(self, *, is_styled: bool, has_colour: bool) -> None:
        """`has_colour` is about colours only: bold and dim text remains."""
        self._is_styled = is_styled
        self._has_colour = has_colour
        #: What comes before and after a text, by its style.
        self._codes: dict[Style, tuple[str, str]] = {}

    def text(self, line: Line) -> str:
        """Return a line as text."""
        if not self._is_styled:
            return "".join(segment.text for segment in line)
        parts: list[str] = []
        for text, style, _ in line:
            if text and style is not None:
                before, after = self._codes.get(style) or self._learn(style)
                parts += (before, text, after)
            else:
                parts.append(text)
        return "".join(parts)

    def _learn(self, style: Style) -> tuple[str, str]:
        shown = style if self._has_colour else style.without_color
        before, _, after = shown.render("x", color_system=ColorSystem.STANDARD).partition("x")
        self._codes[style] = before, after
        return before, after
