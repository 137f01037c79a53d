"""The retries that the running scheduler of some job files waits for, as far as it says so at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.control.client import connect, running_directories
from taskman_cli.core.protocol import Status
from taskman_cli.errors import TaskmanError
from taskman_cli.instance.directory import state_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A healthy scheduler answers within a hundredth of that.
_ASK_S = 0.5


class WaitingRetry(NamedTuple):
    """An attempt that waits for its next try."""

    #: JOB, or JOB.TASK.
    name: str
    run: str
    retry: int
    most: int
    due_ns: int

    @property
    def words(self) -> str:
        """Say which retry it is."""
        return f"retry {self.retry} of {self.most}"


def waiting_retries(files: Sequence[str]) -> list[WaitingRetry]:
    """Return the retries of the first scheduler that runs one of the files, the first retry first."""
    wanted = {str(Path(name).absolute()) for name in files}
    with suppress(TaskmanError, OSError):
        for directory in running_directories(state_directory(os.environ, is_root=os.geteuid() == 0)):
            if (reply := _status(directory)) and not wanted.isdisjoint(reply["files"]):
                return [
                    WaitingRetry(
                        row["job"] if row["task"] == "main" else f"{row['job']}.{row['task']}",
                        row["run"], row["retry"], row["most"], row["due_ns"],
                    )
                    for row in reply.get("retrying", ())  # an older scheduler does not send it
                ]  # fmt: skip
    return []


def _status(directory: Path) -> dict[str, Any]:
    with suppress(TaskmanError, OSError), connect(directory, patience_s=0) as scheduler:
        return scheduler.ask(Status(), timeout_s=_ASK_S)
    return {}
