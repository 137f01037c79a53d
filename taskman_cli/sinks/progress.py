"""What of a message has been taken already, where it goes to several: another attempt leaves these out.

It is forgotten with the process. Then they get it twice, with the same key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Progress:
    """Who has taken the message with the latest key."""

    def __init__(self) -> None:
        self._key = ""
        self._taken: set[str] = set()

    def left(self, key: str, names: Iterable[str]) -> list[str]:
        """Return those of these names that have not taken the message with this key."""
        if key != self._key:
            self._key = key
            self._taken.clear()
        return [name for name in dict.fromkeys(names) if name not in self._taken]

    def finish(self) -> None:
        """Note that all have taken it: whoever delivers it once more means it."""
        self._key = ""
        self._taken.clear()

    def take(self, name: str) -> None:
        """Note that one of them has taken it."""
        self._taken.add(name)
