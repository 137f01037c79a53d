"""Queues and buffers in one line: what is in each, and the most that ever was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.core.engine.view import Depth

#: Jobs with a slot to come and timers are no work that waits.
_NO_WORK = ("due", "timers")


def queue_words(queues: Iterable[Depth], *, most: int) -> str:
    """Return the queues that anything was ever in, fuller ones first, in at most so many characters.

    "": nothing ever waited. Those that do not fit are counted.
    """
    used = [queue for queue in queues if queue.most and queue.name not in _NO_WORK]
    parts = [_words(queue) for queue in sorted(used, key=lambda queue: queue.depth == 0)]
    shown = len(parts)
    while shown:
        left = [f"and {len(parts) - shown} more"] if shown < len(parts) else []
        text = ", ".join([*parts[:shown], *left])
        if len(text) <= most:
            return text
        shown -= 1
    return ""


def _words(queue: Depth) -> str:
    now, peak = (
        (format_size(queue.depth), format_size(queue.most)) if queue.is_bytes
        else (f"{queue.depth:,}", f"{queue.most:,}")
    )  # fmt: skip
    name = queue.name.replace("_", " ")
    return f"{name} {now}" if queue.depth == queue.most else f"{name} {now} (most {peak})"
