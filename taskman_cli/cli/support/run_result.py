"""How a run ended, from a reply of the scheduler: in words, and as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.errors import EXIT_COMMAND_NOT_FOUND, EXIT_FAILED, EXIT_NOT_EXECUTABLE

if TYPE_CHECKING:
    from collections.abc import Mapping


def exit_code(end: Mapping[str, Any]) -> int:
    """Return 0 for a success, the exit code of the command for a failure, as in a shell, else 1.

    A run that was cancelled, lost, skipped or timed out has no exit code of its own.
    """
    if end["state"] == "succeeded":
        return 0
    if end["state"] != "failed":
        return EXIT_FAILED
    if end.get("signal"):
        return 128 + int(end["signal"])
    return int(end.get("exit_code") or _of_no_process(str(end.get("detail") or "")))


def _of_no_process(detail: str) -> int:
    """Return the exit code of a shell for a program that was not found or is not executable, else 1."""
    # These are the beginnings of the supervisor's messages.
    return next((code for words, code in _NO_PROCESS.items() if detail.startswith(words)), EXIT_FAILED)


_NO_PROCESS = {
    "not found:": EXIT_COMMAND_NOT_FOUND,
    "not executable:": EXIT_NOT_EXECUTABLE,
    "permission denied:": EXIT_NOT_EXECUTABLE,
    "cannot be started:": EXIT_NOT_EXECUTABLE,
}


def describe_end(end: Mapping[str, Any]) -> str:
    """Return which run ended, and how."""
    state = str(end["state"]).replace("_", " ")
    detail = f" ({end['detail']})" if end.get("detail") else ""
    name = end["job"] if end["run"] is None else f"{end['job']}: run {end['run']}"
    return f"{name} {_VERBS.get(state, state)}{detail}"


def state_of(reply: Mapping[str, Any], end: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how a run ended, or its state if nobody waited for the end; for JSON."""
    keys = ("state", "exit_code", "signal", "detail")
    return {key: end[key] for key in keys} if end else dict.fromkeys(keys) | {"state": reply["state"]}


def nothing_of(target: str) -> str:
    """Say that there is nothing to wait for or to cancel."""
    return f"{target} has no running or queued run"


_VERBS = {
    "timed out": "timed out",
    "cancelled": "was cancelled",
    "lost": "was lost",
    "skipped": "was skipped",
}
