"""A record as it can be written, whatever it contains: texts without stray surrogates, numbers of 64 bits."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from taskman_cli.core.escapes import as_utf8

_MOST = 2**63 - 1


def writable(value: Any) -> Any:
    """Return the record with texts escaped and numbers cut to what SQLite takes."""
    if isinstance(value, Enum | bool):
        return value
    if isinstance(value, str):
        return as_utf8(value)
    if isinstance(value, int):
        return max(-_MOST - 1, min(value, _MOST))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: writable(getattr(value, item.name)) for item in fields(value)})
    if isinstance(value, dict):
        return {writable(name): writable(item) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(writable, value))
    return value
