"""Templates of requests to web services: what a table of one may have in it. `sinks.template` fills them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from taskman_cli.core.escapes import quoted
from taskman_cli.core.nearest import did_you_mean

#: Where a value goes.
PLACE = re.compile(r"\{([a-z_]+)\}")
#: The values that a template may name.
VALUES = frozenset(
    [
        "title", "body", "facts", "output", "event", "level", "job", "task", "run", "host", "instance", "key",
        "dedup", "detail", "command", "at", "count", "routing_key",
    ]
)  # fmt: skip
#: How bad it is, the worst first.
LEVELS = ("problem", "warning", "info", "good")
#: How characters are written that the service would take for its own.
ESCAPES = ("none", "slack", "discord", "markdown")
#: A larger file is no template.
MOST_BYTES = 256 << 10
_KEYS = frozenset("about body content_type each escape headers levels limits text".split())  # noqa: SIM905


def what_is_wrong_with_template(table: Mapping[str, Any]) -> str:
    """Say why the tables of a file are no template, and what to write; "" if they are one."""
    if unknown := sorted(table.keys() - _KEYS):
        return f"unknown key {quoted(unknown[0])}: a template has {', '.join(sorted(_KEYS))}"
    if ("body" in table) == ("text" in table):
        return "a template has either [body], a table that becomes JSON, or text"
    for name in ("headers", "limits", "levels"):
        if not isinstance(table.get(name, {}), dict):
            return f"{name} has to be a table: write [{name}] above its keys"
    if table.get("escape", "none") not in ESCAPES:
        return f"escape is one of {', '.join(ESCAPES)}"
    for name, limit in table.get("limits", {}).items():
        if type(limit) is not int or limit < 1:
            return f"limits: {quoted(name)} has to be a number of bytes"
    for name, of_level in table.get("levels", {}).items():
        if not isinstance(of_level, dict) or of_level.keys() != set(LEVELS):
            return f"levels: {quoted(name)} needs a value for each of {', '.join(LEVELS)}"
    return _wrong_place(table)


def _wrong_place(table: Mapping[str, Any]) -> str:
    """Say which place is none of a value."""
    known = VALUES | table.get("levels", {}).keys()
    for text in _strings([table.get("body", table.get("text")), table.get("headers", {})]):
        for name in PLACE.findall(text):
            if name not in known:
                hint = did_you_mean(name, known)
                return f"{{{name}}} is not a value{hint}: there are {', '.join(sorted(known))}"
    return ""


def _strings(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        for value in item.values():
            yield from _strings(value)
    elif isinstance(item, list):
        for value in item:
            yield from _strings(value)
