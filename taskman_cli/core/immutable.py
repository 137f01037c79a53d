"""Plain data that nothing changes, made by the thousands a second.

A frozen dataclass sets each field through a call that allows it, which takes four times as long. A scheduler
makes ten such objects for each run. So here the type checker alone refuses an assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """Make a dataclass with slots whose objects never change, compare by value, and can be hashed."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
