"""What a wait status of wait(2) says."""

from __future__ import annotations

import os
import signal


def exit_of(status: int | None) -> tuple[int | None, int | None]:
    """Return exit code and signal, one of which is None; both are None if the status was not seen."""
    if status is None:
        return None, None
    code = os.waitstatus_to_exitcode(status)
    return (code, None) if code >= 0 else (None, -code)


def in_words(status: int) -> str:
    """Describe a wait status: "exit code 1", "killed by SIGKILL"."""
    code, number = exit_of(status)
    if number is None:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def commands(count: int) -> str:
    """Say how many commands there are."""
    return "1 command" if count == 1 else f"{count} commands"
