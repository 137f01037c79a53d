"""What each reader takes, in the words of JSON Schema, kept beside the reader itself.

A shape may let through what its reader refuses (30 February), never refuse what its reader takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Shape = dict[str, Any]
AnyReader = TypeVar("AnyReader", bound=Callable[..., Any])

_SHAPES: dict[Callable[..., Any], Shape] = {}


def shaped(**shape: Any) -> Callable[[AnyReader], AnyReader]:
    """Say what a reader takes."""

    def note(reader: AnyReader) -> AnyReader:
        _SHAPES[reader] = shape
        return reader

    return note


def shape_of(reader: Callable[..., Any]) -> Shape | None:
    """Return what a reader takes; None: nothing at all."""
    return _SHAPES.get(reader)


def part(name: str) -> Shape:
    """Refer to a shape that has a name of its own in the whole schema."""
    return {"$ref": f"#/$defs/{name}"}


def named(pattern: str, shape: Shape) -> Shape:
    """Make the shape of a table whose keys are names that match a pattern."""
    return {"type": "object", "patternProperties": {whole(pattern): shape}, "additionalProperties": False}


def whole(pattern: str) -> str:
    """Make a pattern match a text as a whole, as `fullmatch` does."""
    return f"^(?:{pattern})$"
