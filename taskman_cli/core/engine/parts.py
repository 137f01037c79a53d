"""The part of the engine that it can do without: the gate of `admission = "auto"`, with what it has learned.

What raises in it raises for no single job, and would in the next scheduler too. So that one does without it.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class GateBroken(Exception):
    """Say that the gate raised; its cause says what."""


def of_gate(method: Callable[P, T]) -> Callable[P, T]:
    """Raise GateBroken for whatever a method of the gate raises."""

    @wraps(method)
    def call(*args: P.args, **options: P.kwargs) -> T:
        try:
            return method(*args, **options)
        except GateBroken:
            raise
        except Exception as error:
            raise GateBroken from error

    return call
