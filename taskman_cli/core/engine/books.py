"""What a set of attempts needs of the memory: sums that change as the needs of tasks become known."""

from __future__ import annotations

#: A task, by the names of job and task.
Owner = tuple[str, str]


class Book:
    """Some attempts, by key: those of declared or known needs, and those of unknown ones."""

    def __init__(self) -> None:
        #: The sum of all needs that are declared or known.
        self.certain = 0
        #: How many attempts there are of each task that declares nothing.
        self.counts: dict[Owner, int] = {}
        #: The tasks of unknown need among them, and how many attempts those have.
        self.unknown: set[Owner] = set()
        self.unknown_count = 0
        self._entries: dict[str, int | Owner] = {}

    def clear(self) -> None:
        """Take all attempts out."""
        self.certain = self.unknown_count = 0
        self.counts.clear()
        self.unknown.clear()
        self._entries.clear()

    def declare(self, key: str, need: int) -> None:
        """Add an attempt that declares what it needs."""
        self._entries[key] = need
        self.certain += need

    def add(self, key: str, owner: Owner, need: int | None) -> None:
        """Add an attempt of a task; None: what that needs is unknown."""
        self._entries[key] = owner
        self.counts[owner] = self.counts.get(owner, 0) + 1
        if need is None:
            self.unknown.add(owner)
            self.unknown_count += 1
        else:
            self.certain += need

    def remove(self, key: str, known: dict[Owner, int]) -> Owner | None:
        """Take an attempt out, if it is there, and return its task; None: it declared its need."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if isinstance(entry, int):
            self.certain -= entry
            return None
        is_unknown = entry in self.unknown if self.unknown else False
        if is_unknown:
            self.unknown_count -= 1
        else:
            self.certain -= known[entry]
        count = self.counts[entry] - 1
        if count:
            self.counts[entry] = count
        else:
            del self.counts[entry]
            if is_unknown:
                self.unknown.remove(entry)
        return entry

    def change(self, owner: Owner, before: int | None, need: int) -> None:
        """Note that a task is known to need so much; before: what it was known to need, or None."""
        count = self.counts.get(owner)
        if count is None:
            return
        self.certain += count * (need - (before or 0))
        if owner in self.unknown:
            self.unknown.remove(owner)
            self.unknown_count -= count
