"""The output of commands, which may outlast them: pipes are read, and files settled in small steps."""

from __future__ import annotations

import os
import select
from collections import deque

from taskman_cli.supervisor.output import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taskman_cli.supervisor.output import Capture

#: Most bytes that are read from one pipe at one wake-up, so that a flood does not starve others.
PIPE_BUDGET_BYTES = 256 << 10
#: Most bytes that are read from the pipe of a command that has ended: slightly more than a pipe can hold.
DRAIN_BYTES = (1 << 20) + (64 << 10)


class Captures:
    """All pipes that are read, and the files that still have to be settled."""

    def __init__(self, epoll: select.epoll, after: Callable[[int, Callable[[], None]], None]) -> None:
        self._epoll = epoll
        self._after = after
        self._by_fd: dict[int, Capture] = {}
        self._settling: deque[Iterator[None]] = deque()
        #: Output of background processes is kept for this long after the end of their command.
        self.grace_ns = 250_000_000

    def listen(self, capture: Capture) -> None:
        """Read a pipe from now on."""
        self._by_fd[capture.fd] = capture
        self._epoll.register(capture.fd, select.EPOLLIN)

    def pump(self, fd: int) -> bool:
        """Read output; return False if `fd` is not one of these pipes."""
        capture = self._by_fd.get(fd)
        if capture is None:
            return False
        if not capture.pump(PIPE_BUDGET_BYTES):
            self.close(capture)
        return True

    def drain(self, capture: Capture) -> None:
        """Read what is in the pipe of a command that has ended, and what still comes within `grace_ns`.

        The attempt is over even if another process holds the pipe; what is in the pipe now belongs to it.
        """
        if capture.fd not in self._by_fd:
            return
        if not capture.pump(DRAIN_BYTES, to_end=True):
            self.close(capture)
        else:
            self._after(self.grace_ns, lambda: self.stop_keeping(capture))

    def close(self, capture: Capture) -> None:
        """Stop reading a pipe."""
        if self._by_fd.pop(capture.fd, None) is not None:
            self._epoll.unregister(capture.fd)
            os.close(capture.fd)
            self.stop_keeping(capture)

    def stop_keeping(self, capture: Capture) -> None:
        """Discard what still comes, and have the file settled."""
        if capture.is_kept:
            capture.is_kept = False
            steps = capture.file.finish()
            if capture.file.cut_bytes:
                self._settling.append(steps)

    # --- files to be put right ---

    @property
    def is_settling(self) -> bool:
        """Tell if `settle` has work to do."""
        return bool(self._settling)

    def settle_file(self, path: str, max_output: int) -> None:
        """Settle an output file that a killed supervisor left, in the steps of `settle`."""
        self._settling.append(settle(os.fsdecode(path), max(0, int(max_output))))

    def settle(self) -> None:
        """Do one step of settling large output files, each file in turn."""
        if self._settling:
            steps = self._settling.popleft()
            if next(steps, self) is not self:
                self._settling.append(steps)

    def close_all(self) -> None:
        """Settle all output files; running commands continue, and their output is not read any more."""
        for capture in list(self._by_fd.values()):
            self.stop_keeping(capture)
        while self._settling:
            self.settle()
