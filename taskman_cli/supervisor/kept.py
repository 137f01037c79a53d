"""Values that a scheduler leaves for the next one of this supervisor."""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Kept:
    """Values by name, of at most `max_bytes` in total."""

    def __init__(self, max_bytes: int) -> None:
        self.values: dict[str, Any] = {}
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}
        self._total_bytes = 0

    def keep(self, name: str, value: Any) -> None:
        """Keep a value, or remove it (None). Raises ValueError if that is too much, and keeps none then."""
        size = len(marshal.dumps((name, value))) if value is not None else 0
        total = self._total_bytes - self._sizes.get(name, 0) + size
        if total > self._max_bytes:
            self.keep(name, None)  # the one before it is out of date
            raise ValueError("too much to keep")
        self._total_bytes = total
        if value is None:
            self.values.pop(name, None)
            self._sizes.pop(name, None)
        else:
            self.values[name] = value
            self._sizes[name] = size
