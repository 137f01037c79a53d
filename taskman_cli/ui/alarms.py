"""What is said of a job that fails, in `status`, `list` and the live view. Without Rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.ui import amounts
from taskman_cli.ui.signs import TIMES

if TYPE_CHECKING:
    from taskman_cli.core.model import State


def count_words(failures: int, *, is_more: bool) -> str:
    """Return how many runs in a row failed: "×12", or "×1,000+" if there may be more."""
    return f"{TIMES}{failures:,}{'+' if is_more else ''}"


def why_words(task: str, state: State, detail: str) -> str:
    """Return how the latest run failed: "exit 1", "timed out", "db: killed by SIGKILL"."""
    words = detail
    if state == "cancelled":
        words = ""  # the signal is no news
    elif state == "timed_out":
        words = "timed out" if not detail or detail.startswith("killed by") else f"timed out, {detail}"
    elif state == "lost":
        words = f"lost: {detail}" if detail else "lost"
    of_task = "" if task == "main" else f"{task}: "
    return f"{of_task}{words or state.replace('_', ' ')}"


def next_words(due_ns: int | None, note: str, *, now_ns: int) -> str:
    """Return when a job that fails next runs, or why it does not: "next in 3h 12m", "paused"."""
    if due_ns is None:
        return {"running": "running now", "": "does not run again"}.get(note, note)
    return f"{note or 'next'} {amounts.countdown(due_ns - now_ns)}"
