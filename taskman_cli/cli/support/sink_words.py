"""What is wrong with a sink, in words."""

from __future__ import annotations

from typing import Any

from taskman_cli.core.timespec import format_rough


def trouble_of(item: dict[str, Any], now_ns: int) -> str:
    """Say what is wrong with a sink, as a reply tells of it; "": nothing."""
    words = []
    if item["failing_ns"] is not None:
        length = format_rough(max(0, now_ns - item["failing_ns"]))
        waiting = f", {item['waiting']:,} wait" if item["waiting"] else ""
        words.append(f"fails for {length}{waiting}: {item['error']}")
    if count := item["set_aside"]:
        words.append(f"{count:,} report{'s' if count > 1 else ''} set aside")
    return "; ".join(words)
