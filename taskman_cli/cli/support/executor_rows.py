"""Executors as rows of tables, from the status of a scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.ui.executors import AWAY, Amounts, load_words, state_words, workers_words

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The headings of `rows`.
COLUMNS = ("EXECUTOR", "TYPE", "STATE", "RUNNING", "WAITING", "STARTED", "FAILED", "LOST", "RESTARTS", "NOTE")


def summaries(reply: dict[str, Any], now_ns: int) -> list[tuple[str, ...]]:
    """Return name, state and the rest in words of all executors but `local`, those that are away first."""
    items = sorted(
        (item for item in reply.get("executors", ()) if item["type"] != "local"),
        key=lambda item: item["state"] not in AWAY,
    )
    return [(item["executor"], _state(item, now_ns), _about(item)) for item in items]


def _state(item: dict[str, Any], now_ns: int) -> str:
    return state_words(item["state"], None if item["since_ns"] is None else now_ns - item["since_ns"])


def _about(item: dict[str, Any]) -> str:
    words = [load_words(item["running"], item["max_workers"], item["waiting"])]
    if item["state"] in AWAY and item["error"]:
        words.append(item["error"])
    elif (workers := item["workers"]) is not None:
        words.append(workers_words(workers["count"], _amounts(workers)))
    return "; ".join(words)


def rows(reply: dict[str, Any], now_ns: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each executor, and under it one for each far worker that is named."""
    for item in reply.get("executors", ()):
        of = "" if item["max_workers"] is None else f" of {item['max_workers']:,}"
        workers = item["workers"]
        note = item["error"]
        if not note and workers is not None:
            note = workers_words(workers["count"], _amounts(workers))
        yield (
            item["executor"], item["type"], _state(item, now_ns), f"{item['running']:,}{of}",
            *(f"{item[key]:,}" for key in ("waiting", "started", "failed", "lost", "restarts")), note,
        )  # fmt: skip
        if workers is None:
            continue
        for worker in workers["first"]:
            far = _amounts(worker)
            of = f" of {far.slots:,}" if far.slots else ""
            about = workers_words(1, far._replace(slots=0)).removeprefix("1 worker").strip(" ()")
            yield f"  {worker['worker']}", "worker", "", f"{far.running:,}{of}", "", "", "", "", "", about
        if (more := workers["count"] - len(workers["first"])) > 0:
            yield f"  and {more:,} more", "", "", "", "", "", "", "", "", ""


def _amounts(item: dict[str, Any]) -> Amounts:
    return Amounts(item["running"], item["slots"] or 0, item["memory_bytes"] or 0, item["resources"])
