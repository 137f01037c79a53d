"""Typed values from YAML tables, with a note for each that is of another kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.foreign.yamltext import Items, Table, Text, Value

if TYPE_CHECKING:
    from taskman_cli.jobfile.foreign.imported import Imported

_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})


class Keys:
    """Reads keys of one table; those that are not read can be asked for."""

    def __init__(self, value: Value, imported: Imported, where: str) -> None:
        self._imported = imported
        self._where = where
        self.table = value if isinstance(value, Table) else Table()
        self.line = getattr(value, "line", 1)
        self._read: set[str] = set()
        if value is not None and not isinstance(value, Table):
            self._odd("", "a mapping")

    def _odd(self, name: str, what: str) -> None:
        line = self.table.lines.get(name, self.line) if self.table else self.line
        self._imported.note(line, f"{self._where}{name} is not {what}: left out")

    def get(self, name: str) -> Value:
        """Return any value."""
        self._read.add(name)
        return self.table.get(name)

    def line_of(self, name: str) -> int:
        """Return the line of a key."""
        return self.table.lines.get(name, self.line) if self.table else self.line

    def text(self, name: str) -> str:
        """Return a text, or ""."""
        value = self.get(name)
        if value is not None and not isinstance(value, Text):
            self._odd(name, "a text")
            return ""
        return "" if value is None else str(value)

    def flag(self, name: str) -> bool | None:
        """Return a boolean; None if it is not there."""
        text = self.text(name).lower()
        if text and text not in _TRUE | _FALSE:
            self._odd(name, "true or false")
            return None
        return None if not text else text in _TRUE

    def number(self, name: str) -> float | None:
        """Return a number that is not negative; None if it is not there."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch(r"\+?\d{1,12}(?:\.\d{1,9})?", text):
            self._odd(name, "a number from 0")
            return None
        return float(text)

    def whole(self, name: str) -> int | None:
        """Return a whole number; None if it is not there."""
        number = self.number(name)
        return None if number is None else int(number)

    def items(self, name: str) -> list[Value]:
        """Return a list, or []."""
        value = self.get(name)
        if value is not None and not isinstance(value, Items):
            self._odd(name, "a list")
            return []
        return list(value or [])

    def under(self, name: str) -> Keys:
        """Return the keys of a table within this one."""
        return Keys(self.get(name), self._imported, f"{self._where}{name}.")

    def unread(self) -> list[str]:
        """Return the keys that nobody has read."""
        return [name for name in self.table if name not in self._read]

    def words(self, name: str) -> list[str]:
        """Return a list of texts, or []."""
        found = self.items(name)
        if any(not isinstance(item, Text) for item in found):
            self._odd(name, f"a list of texts, but has {quoted(str(next(iter(found), '')))[:40]}")
            return []
        return [str(item) for item in found]
