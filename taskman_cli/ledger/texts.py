"""Texts that may contain bytes which are not UTF-8, such as a path in an error: how they are kept in SQLite.

In the program such a byte is half a surrogate pair (Python's `surrogateescape`), which SQLite does not take.
So the bytes themselves are bound, and `CAST(? AS TEXT)` in the statement makes them the text of the column.
Reading turns them back.
"""

from __future__ import annotations

import json
from functools import lru_cache
from operator import methodcaller
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from taskman_cli.core.model import Amounts


@overload
def stored(text: str) -> str | bytes: ...
@overload
def stored(text: None) -> None: ...
def stored(text: str | None) -> str | bytes | None:
    """Return what to bind for a text: the text itself, or its bytes where not all of them are UTF-8."""
    if not text or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _as_bytes(text)
    return text


@lru_cache(maxsize=256)
def stored_amounts(amounts: Amounts) -> str:
    """Return what to bind for amounts of resources: most attempts hold the same as many others."""
    return json.dumps(dict(amounts))


def _as_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair that stands for no byte: it did not come from the system
        return text.encode("utf-8", "replace")


def matching(row: Mapping[str, object]) -> tuple[str, tuple[object, ...]]:
    """Return a condition that the rows with these values meet, and what to bind."""
    terms = [
        f"CAST({name} AS BLOB) IS CAST(? AS BLOB)" if isinstance(value, str) else f"{name} IS ?"
        for name, value in row.items()
    ]
    bound = (stored(value) if isinstance(value, str) else value for value in row.values())
    return " AND ".join(terms), tuple(bound)


def read_any_text(connection: sqlite3.Connection) -> None:
    """Let a connection read every text, with the bytes that are not UTF-8."""
    connection.text_factory = methodcaller("decode", "utf-8", "surrogateescape")
