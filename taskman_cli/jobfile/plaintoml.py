"""TOML whose statements each stand on one line, read several times as fast as by tomllib.

Most lines of a job file are the header of a table, or a key with a string. These are matched here, each by
one regular expression; any other value is given to tomllib by itself. What needs more than its line, and
whatever is wrong, is left to tomllib as a whole: it alone decides what TOML is, and says what is not.
"""

from __future__ import annotations

import re
import tomllib
from sys import intern
from typing import Any

# Possessive throughout: nothing is looked at twice, however odd the text is.
_LINE = re.compile(
    r"[ \t]*+(?:"
    r"(?P<key>[A-Za-z0-9_-]++)[ \t]*+=[ \t]*+(?:"
    r'"(?P<string>[^"\\\x00-\x08\x0a-\x1f\x7f]*+)"(?!")'
    r"|'(?P<literal>[^'\x00-\x08\x0a-\x1f\x7f]*+)'(?!')"
    r"|(?P<other>[^\n]++)"
    r")"
    r"|\[(?P<header>[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++){0,9}+)\]"
    r")?+[ \t]*+(?:#[^\x00-\x08\x0a-\x1f\x7f]*+)?+(?:\n|\Z)"
)
_BOOLEANS = {"true": True, "false": False}
#: Such values are often the same in many jobs, and are kept once.
_SHORT = 24
#: A longer value that has an inline table is checked with the whole text (`source.parse_source`).
_LONG = 400


def read_plain(text: str) -> dict[str, Any] | None:
    """Return the tables of a text with `\\n` as its line ends, as tomllib would; None: it must read it."""
    match = _LINE.match
    top: dict[str, Any] = {}
    table = top
    #: The tables that headers have made, by their dotted names; and those that have had a header.
    tables: dict[str, dict[str, Any]] = {}
    headed: set[str] = set()
    shared: dict[str, str] = {}
    end, length = 0, len(text)
    while end < length:
        line = match(text, end)
        if line is None:
            return None
        end = line.end()
        kind = line.lastgroup
        if kind is None:
            continue
        if kind == "header":
            header = line["header"]
            found = None if header in headed else _table(header, top, tables)
            if found is None:
                return None
            headed.add(header)
            table = found
            continue
        key, value = line.group("key", kind)
        if key in table:
            return None
        if kind == "other":
            try:
                value = _value(value)
            except (ValueError, RecursionError):
                return None
        elif len(value) <= _SHORT:
            value = shared.setdefault(value, value)
        table[intern(key)] = value
    return top


def _table(header: str, top: dict[str, Any], tables: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the table that a header opens; None: something else has its name."""
    found = tables.get(header)
    if found is not None:
        return found
    above, _, name = header.rpartition(".")
    parent = _table(above, top, tables) if above else top
    if parent is None or name in parent:
        return None
    made = parent[name] = tables[header] = {}
    return made


def _value(text: str) -> Any:
    """Read the value that is the rest of a line. Raises ValueError if there is more to it, or it is wrong."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text.isascii() and text.isdecimal() and (text[0] != "0" or text == "0"):
        return int(text)
    if "{" in text and len(text) > _LONG:
        raise ValueError("it may have too many parts")
    return tomllib.loads(f"v = {text}")["v"]
