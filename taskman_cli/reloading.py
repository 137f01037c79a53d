"""Reads the job files again beside the clock's loop, and looks whether they have changed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.jobfile import JobFile

#: What is read of a file to see whether it is another: where it is, how long, and when it was written.
Look = tuple[tuple[int, int, int, int] | None, ...]


class Reloader:
    """Reads in a process of its own, with a thread that waits; `fileno` is readable when that is done."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        """Take what `jobfile.load` is to be called with."""
        self._arguments = json.dumps(arguments)
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._result: Any = None

    def fileno(self) -> int:
        """Return the descriptor that is readable when the files were read."""
        return self._done_fd

    def start(self) -> None:
        """Begin to read; not while that goes on already."""
        threading.Thread(target=self._read, name="reload", daemon=True).start()

    def result(self) -> JobFile | tuple[str, int]:
        """Return the job file, or what is wrong with it in words and as an exit code."""
        os.eventfd_read(self._done_fd)
        result, self._result = self._result, None
        known: JobFile | tuple[str, int] = result
        return known

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._done_fd)

    def _read(self) -> None:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "taskman_cli.jobfile", self._arguments],
                stdin=subprocess.DEVNULL, capture_output=True, check=True,
            )  # fmt: skip
            self._result = pickle.loads(done.stdout)  # noqa: S301 - our own process wrote it
        except (OSError, subprocess.CalledProcessError, pickle.UnpicklingError, EOFError) as error:
            self._result = (f"taskman: the job files cannot be read: {error}", 1)
        with suppress(OSError):  # closed by now
            os.eventfd_write(self._done_fd, 1)


def look_at(paths: Iterable[str]) -> Look:
    """Return what tells one state of files from another, following links; None for one that is not there."""
    look: list[tuple[int, int, int, int] | None] = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
        except OSError:
            look.append(None)
        else:
            look.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(look)
