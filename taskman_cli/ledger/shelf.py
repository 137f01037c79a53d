"""Where unreadable rows go: the table `set_aside` has each as it was found, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

#: Most rows that are kept in `set_aside`, and most characters of a value.
_KEPT_ROWS, _KEPT_CHARACTERS = 10_000, 100_000

Row = dict[str, Any]


class SetAsideRow(NamedTuple):
    """A row that was set aside."""

    source: str
    job: str | None
    #: What it was, what is wrong with it, and what follows.
    words: str


@dataclass(frozen=True, slots=True)
class Life:
    """Which scheduler opens the ledger, and when."""

    wall_ns: int
    supervisor: int
    boot: str | None
    #: Runs that the supervisor watches a command of.
    watched: frozenset[str]


class Shelf:
    """Reads rows of a ledger, and sets those aside that cannot be used."""

    def __init__(self, connection: sqlite3.Connection, life: Life) -> None:
        self.connection = connection
        self.life = life
        #: What was set aside.
        self.found: list[SetAsideRow] = []

    def rows(self, query: str, *parameters: object) -> Iterator[Row]:
        """Yield rows by column; text that is not UTF-8 stays bytes."""
        cursor = self.connection.execute(query, parameters)
        names = [column[0] for column in cursor.description]
        for row in cursor.fetchall():
            yield dict(zip(names, row, strict=True))

    def keep(self, source: str, row: Row, why: str, words: str, *, job: str | None = None) -> None:
        kept = json.dumps({name: _plain(value) for name, value in row.items()})
        self.connection.execute(
            "INSERT INTO set_aside (at_ns, source, job, why, row) VALUES (?, ?, ?, ?, ?)",
            (self.life.wall_ns, source, job, why, kept),
        )
        self.found.append(SetAsideRow(source, job, words))

    def clear_old(self) -> None:
        """Remove the oldest of what was set aside, if it is too much."""
        self.connection.execute(
            "DELETE FROM set_aside WHERE id <= (SELECT max(id) FROM set_aside) - ?", (_KEPT_ROWS,)
        )


def _plain(value: object) -> object:
    """Return a value that JSON can hold: bytes and long texts as objects that say so."""
    if isinstance(value, bytes):
        return {"hex": value[: _KEPT_CHARACTERS // 2].hex(), "bytes": len(value)}
    if isinstance(value, str) and len(value) > _KEPT_CHARACTERS:
        return {"text": value[:_KEPT_CHARACTERS], "characters": len(value)}
    return value
