"""Text that is safe to draw and has a known width: control characters made visible, cut and padded in cells.

A `Line` is one row of the screen. Nothing here knows what the text means.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

from taskman_cli.core.escapes import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.style import Style

Line: TypeAlias = list[Segment]

ELLIPSIS = "…"

_BLANKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+ *")
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
# Control, format (bidirectional overrides among them), surrogate, private and unassigned characters: no two
# terminals agree on what they do or how wide they are.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Joiners and variation selectors of emoji change the width in ways that terminals disagree about.
_DROPPED = frozenset("\u200d\ufe0e\ufe0f")


def plain(text: str) -> str:
    r"""Return the text on one line, with every character that could control a terminal escaped (`\x1b`)."""
    if not _NOT_ASCII.search(text):
        return text
    text = unicodedata.normalize("NFC", _BLANKS.sub(" ", text))
    return _NOT_ASCII.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    character = match.group()
    if character in _DROPPED:
        return ""
    if unicodedata.category(character) not in _UNSAFE:
        return character
    return visible(character)


def width_of(text: str) -> int:
    """Return the width of a text in cells."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int) -> str:
    """Return the text if it fits, or else its beginning and an ellipsis."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    if text.isascii():
        return text[: width - 1] + ELLIPSIS
    return set_cell_size(text, width - 1) + ELLIPSIS


def label(text: str, *, most: int) -> str:
    """Return untrusted text made `plain` and `cut`; a megabyte costs no more than a screenful."""
    return cut(plain(text[: 2 * most + 2]), most)


def line_width(line: Iterable[Segment]) -> int:
    """Return the width of a line in cells."""
    return sum(width_of(segment.text) for segment in line)


def fit(line: Sequence[Segment], width: int, *, right: bool = False) -> Line:
    """Return the line, cut or padded with spaces to exactly `width` cells."""
    fitted: Line = []
    left = width
    for segment in line:
        text = segment.text
        cells = len(text) if text.isascii() else cell_len(text)
        if cells > left:
            text = cut(text, left)
            fitted.append(Segment(text, segment.style))
            left -= width_of(text)
            break
        fitted.append(segment)
        left -= cells
    if left > 0:
        fitted.insert(0 if right else len(fitted), Segment(" " * left))
    return fitted


def joined(parts: Iterable[Line], *, gap: str = "  ", style: Style | None = None) -> Line:
    """Join the parts that are not empty into one line, with a gap between them."""
    whole: Line = []
    for part in parts:
        if part:
            if whole:
                whole.append(Segment(gap, style))
            whole += part
    return whole
