"""What a command gets as standard input and output: a file in memory, and a pipe into a file of ours."""

from __future__ import annotations

import os

from taskman_cli.supervisor.output import BoundedFile, Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_DESCRIPTORS = "/proc/self/fd"


def output_file(spec: Mapping[str, Any]) -> BoundedFile | Relay | None:
    """Return what a command's output is read into; None: it does not come through a pipe."""
    if spec["output"] == "capture":
        return BoundedFile(spec["path"], spec["max_output"])
    if spec["output"] not in ("inherit", "discard"):
        raise ValueError(f"output {spec['output']!r}")
    terminal = _foreign_terminal(spec["user"]) if spec["output"] == "inherit" else None
    return None if terminal is None else Relay(terminal)


def _foreign_terminal(user: tuple[int, int, list[int]] | None) -> int | None:
    """Return the descriptor of our terminal if a command of another user would inherit it, or None."""
    if user is None or user[0] == os.geteuid():
        return None
    return next((fd for fd in (1, 2) if os.isatty(fd)), None)


def open_descriptors() -> int | None:
    """Return the directory of our own descriptors, by which `pipe` is quicker; None: there is no /proc."""
    try:
        return os.open(_DESCRIPTORS, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def pipe(descriptors: int | None = None) -> tuple[int, int]:
    """Return our end of a new pipe, which never blocks, and the child's."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    name = f"{_DESCRIPTORS}/{write_end}" if descriptors is None else str(write_end)
    try:
        # The child has a reading end itself, so that it gets no SIGPIPE if this process dies before it.
        child_end = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=descriptors)
    except FileNotFoundError:  # no /proc
        os.set_blocking(write_end, True)
        return read_end, write_end
    except OSError:
        os.close(read_end)
        os.close(write_end)
        raise
    os.close(write_end)
    return read_end, child_end


def hand_over(pipe: int, uid: int) -> None:
    """Let another user reopen their end of a pipe, as `echo >/dev/stderr` does."""
    try:
        os.fchown(pipe, uid, -1)
    except OSError:  # we may not give it away: the command does without
        return


def memory_file(text: str | bytes) -> int:
    """Return a descriptor from which the text can be read."""
    data = memoryview(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd
