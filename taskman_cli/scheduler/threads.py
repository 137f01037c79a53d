"""Threads of the scheduler's process. Where none can be started for now, the process goes on without."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What is raised where there is no process, descriptor or memory for now.
SHORTAGES = (OSError, MemoryError)


def start_thread(
    run: Callable[..., None], *, name: str, args: tuple[Any, ...] = ()
) -> threading.Thread | None:
    """Start a thread that ends with the process; None: none can be started for now."""
    thread = threading.Thread(target=run, args=args, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return None
    return thread
