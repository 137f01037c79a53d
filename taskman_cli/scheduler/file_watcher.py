"""`python -m taskman_cli.scheduler.file_watcher`: report when files have changed.

A small process of its own: a system call on a file system that hangs may not return for hours, and until then
neither its thread nor its process can be ended. Standard input has frames (marshal): where relative paths
begin, and what to watch (`fingerprint.Seen`), or None for nothing. Standard output gets one letter for each
piece of news.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import select
import signal
import sys
import threading

from taskman_cli.jobfile.fingerprint import Seen, look_again

#: The letters: the files have changed, and change no more; a look hangs; it has come back.
CHANGED, HANGS, IS_BACK = b"c", b"h", b"b"
#: Bytes of the length in front of a frame.
PREFIX = 8

#: Between two looks.
_LOOK_S = 2.0
#: Before the second look after a change: the file may not be complete yet.
_SETTLE_S = 0.5
#: A look that takes one to two of these hangs.
_PATIENCE_S = 15.0
_PR_SET_PDEATHSIG = 1


class Lookout:
    """Looks at the files in a thread, and writes letters."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._changed = threading.Condition()
        #: Guards what follows; never held during a look.
        self._start = ""
        self._seen: Seen | None = None
        self._looks = 0
        self._is_looking = False
        #: The number of the look that was reported to hang.
        self._hanging = 0
        self._before = 0
        threading.Thread(target=self._run, daemon=True).start()

    def watch(self, start: str, seen: Seen | None) -> None:
        """Look until the files no longer look like this, or this is called again."""
        with self._changed:
            self._start, self._seen = start, seen
            self._changed.notify()

    def check(self) -> None:
        """Report a look that is still the same as at the last check."""
        with self._changed:
            now = self._looks if self._is_looking else 0
            if now and now == self._before and not self._hanging:
                self._hanging = now
                os.write(self._out, HANGS)
            self._before = now

    def _run(self) -> None:
        before: Seen | None = None
        while True:
            with self._changed:
                self._changed.wait(None if self._seen is None else _LOOK_S if before is None else _SETTLE_S)
                start, seen = self._start, self._seen
                if seen is None:
                    before = None
                    continue
                self._looks += 1
                self._is_looking = True
            now = look_again(seen, start=start)
            with self._changed:
                self._is_looking = False
                if self._hanging:
                    self._hanging = 0
                    os.write(self._out, IS_BACK)
                if seen is not self._seen:
                    before = None
                elif now != seen and now == before:
                    self._seen = before = None  # until the files were read again
                    os.write(self._out, CHANGED)
                else:
                    before = now if now != seen else None


def read_frame(fd: int) -> bytes | None:
    """Read one frame; None at the end."""
    length = _read(fd, PREFIX)
    return None if length is None else _read(fd, int.from_bytes(length, "big"))


def frame(data: bytes) -> bytes:
    """Put its length in front of a frame."""
    return len(data).to_bytes(PREFIX, "big") + data


def _read(fd: int, length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        data = os.read(fd, min(length - len(parts), 1 << 16))
        if not data:
            return None
        parts += data
    return bytes(parts)


def main(parent: int) -> None:
    """Watch what standard input says, until its end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before that
        return
    try:
        lookout = Lookout(1)
    except RuntimeError:  # no thread for now: another process comes
        return
    while True:
        if not select.select([0], [], [], _PATIENCE_S)[0]:
            lookout.check()
            continue
        told = read_frame(0)
        if told is None:
            os._exit(0)
        lookout.watch(*marshal.loads(told))  # noqa: S302 - our own process wrote it


if __name__ == "__main__":
    main(int(sys.argv[1]))
