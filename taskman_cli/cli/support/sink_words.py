"""What is wrong with a sink, in words."""

from __future__ import annotations

from typing import Any

from taskman_cli.cli.render import cut
from taskman_cli.core.timespec import format_rough

#: The longest error beside other things.
_MOST = 80


def trouble_of(item: dict[str, Any], now_ns: int) -> str:
    """Say what is wrong with a sink, as a reply tells of it; "": nothing."""
    words = []
    if item["failing_ns"] is not None:
        length = format_rough(max(0, now_ns - item["failing_ns"]))
        waiting = f", {item['waiting']:,} wait" if item["waiting"] else ""
        # A program may have said a page: `taskman sinks` shows all of it.
        words.append(f"fails for {length}{waiting}: {cut(item['error'], _MOST)}")
    if count := item["set_aside"]:
        words.append(f"{count:,} report{'s' if count > 1 else ''} set aside")
    return "; ".join(words)
