"""Reading files of the machine, which may be missing, forbidden or huge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 1 << 20


def text_of(path: Path) -> str:
    """Return the beginning of a file, "" where there is none to be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
