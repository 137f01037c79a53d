"""What each reader accepts, as JSON Schema, attached to the reader itself.

A shape may accept what its reader rejects (30 February), but never reject what its reader accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Shape = dict[str, Any]
AnyReader = TypeVar("AnyReader", bound=Callable[..., Any])

_SHAPES: dict[Callable[..., Any], Shape] = {}


def shaped(**shape: Any) -> Callable[[AnyReader], AnyReader]:
    """Attach to a reader the shape of what it accepts."""

    def note(reader: AnyReader) -> AnyReader:
        _SHAPES[reader] = shape
        return reader

    return note


def shape_of(reader: Callable[..., Any]) -> Shape | None:
    """Return the shape of what a reader accepts; None: nothing."""
    return _SHAPES.get(reader)


def part(name: str) -> Shape:
    """Return a reference to a named definition of the schema."""
    return {"$ref": f"#/$defs/{name}"}


def named(pattern: str, shape: Shape) -> Shape:
    """Return the shape of a table whose keys match a pattern."""
    return {"type": "object", "patternProperties": {whole(pattern): shape}, "additionalProperties": False}


def whole(pattern: str) -> str:
    """Anchor a pattern, so that it matches like `fullmatch`."""
    return f"^(?:{pattern})$"
