"""A command that follows, as a process whose output the test watches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from wait import wait_until

TASKMAN = Path(sys.executable).with_name("taskman")


class Following:
    """`taskman ARGUMENTS`, its output in a file."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self._path = path
        with path.open("wb") as out:
            self.process = subprocess.Popen(
                [TASKMAN, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
            )  # fmt: skip

    @property
    def output(self) -> bytes:
        return self._path.read_bytes()

    def wait_for(self, text: bytes) -> None:
        """Wait until a text has been printed."""
        wait_until(lambda: text in self.output, what=f"{text!r} in the output")

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def end(self) -> tuple[int, bytes]:
        """Wait for the end; return the exit code and what was said on standard error."""
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err

    def close(self) -> None:
        """End it if it has not ended."""
        self.process.kill()
        self.process.communicate()
