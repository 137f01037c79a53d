"""Waiting in tests for a condition instead of for a guessed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PAUSE_S = 0.005


def wait_until(
    condition: Callable[[], T | None], *, timeout_s: float = 60.0, what: str | Callable[[], str] = ""
) -> T:
    """Call `condition` until it returns something true, and return that; fail after `timeout_s`.

    `what` was waited for: words, or what gives them as it is then.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            words = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_s:g} s: {words or condition}")
        time.sleep(_PAUSE_S)
