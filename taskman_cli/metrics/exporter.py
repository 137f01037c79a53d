"""`python -m taskman_cli.metrics.exporter`: serves the metrics of a scheduler, and writes them to a file.

A process of its own, so that neither making the text nor any scraper takes time from the scheduler's loop,
which only answers the portions of a collection on its control socket. Standard input has frames (marshal):
first the settings and each time that they change, and None when the figures have changed. Standard output
gets JSON lines: `{"level", "text"}` to be logged, and `{"since"}` to ask for the next change after a step.
It ends with its standard input.
"""

from __future__ import annotations

import json
import marshal
import os
import select
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskman_cli.control.client import connect
from taskman_cli.errors import TaskmanError
from taskman_cli.metrics.collect import collect
from taskman_cli.metrics.families import Collected
from taskman_cli.metrics.server import Server
from taskman_cli.metrics.text import Format, render
from taskman_cli.metrics.textfile import WRITE_S, TextFile
from taskman_cli.metrics.trouble import Trouble
from taskman_cli.trust import Trust

#: Bytes of the length in front of a frame.
PREFIX = 8
#: A scheduler that does not answer a portion within this time is taken not to work.
_ANSWER_S = 5.0
#: What was collected is good for this long, and for so many times as long as it took.
_FRESH_S, _FRESH_TIMES = 1.0, 10
#: A write that takes longer hangs.
_HANGS_S = 15.0
#: How long removing the file may take in the end.
_REMOVE_S = 1.0
#: It gives way to the scheduler and the commands.
_NICE = 5


def tell(level: str, text: str) -> None:
    """Have a message logged by the scheduler."""
    _say({"level": level, "text": text})


def _say(what: dict[str, Any]) -> None:
    with suppress(OSError):  # the scheduler is gone or stopped
        os.write(1, json.dumps(what).encode() + b"\n")


class Collector:
    """Collects in a thread of its own: a scheduler that hangs holds up no connection."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._wish = threading.Event()
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._result: Collected | str = "not collected yet"
        self._until_s = 0.0
        self._is_busy = False
        threading.Thread(target=self._run, name="collect", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor that is readable when a collection has ended."""
        return self._done_fd

    def clear(self) -> None:
        """Take note that it has ended."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._done_fd)

    def fresh(self, now_s: float) -> Collected | str | None:
        """Return what was collected lately, or why it was not; None: that is too long ago."""
        with self._lock:
            return self._result if now_s < self._until_s else None

    def ask(self) -> None:
        """Collect, unless that goes on already."""
        with self._lock:
            if self._is_busy:
                return
            self._is_busy = True
        self._wish.set()

    def _run(self) -> None:
        while True:
            self._wish.wait()
            self._wish.clear()
            began_s = time.monotonic()
            result = self._collect()
            ended_s = time.monotonic()
            with self._lock:
                self._result = result
                took_s = 0.0 if isinstance(result, str) else ended_s - began_s
                self._until_s = ended_s + max(_FRESH_S, _FRESH_TIMES * took_s)
                self._is_busy = False
            os.eventfd_write(self._done_fd, 1)

    def _collect(self) -> Collected | str:
        try:
            with connect(self._directory, patience_s=_ANSWER_S) as connection:
                return collect(connection, timeout_s=_ANSWER_S, also={"exporter": os.getpid()})
        except TaskmanError as error:
            return str(error)
        except Exception as error:  # the next scrape tries again
            return f"{type(error).__name__}: {error}"


class FileWriter:
    """Writes the text file in a thread of its own, since a file system may hang."""

    def __init__(self, file: TextFile, path: str) -> None:
        self._file = file
        self._path = path
        self._trouble, self._notes = Trouble(tell), Trouble(tell)
        self._wish = threading.Condition()
        self._data: bytes | None = None
        self._before: bytes | None = None
        self._is_over = False
        #: When it was asked to write what is not written yet, on the monotonic clock.
        self.asked_s: float | None = None
        #: It is told that this hangs.
        self._is_told = False
        #: The last write has failed: it is to be done again although nothing has changed.
        self.is_owed = False
        self._done_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="write", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable when a write has ended, well or not."""
        return self._done_fd

    def write(self, data: bytes, now_s: float) -> None:
        """Write this unless it is what was written last."""
        with self._wish:
            self._data = data
            if self.asked_s is None:
                self.asked_s, self._is_told = now_s, False
            self._wish.notify()

    def clear(self) -> None:
        """Take note that a write has ended."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._done_fd)

    def hangs_at(self) -> float | None:
        """Return when a write is to be told of that goes on; None: never."""
        asked_s = self.asked_s
        return None if asked_s is None or self._is_told else asked_s + _HANGS_S

    def check(self, now_s: float) -> None:
        """Tell of a write that hangs."""
        asked_s = self.asked_s
        if asked_s is not None and now_s - asked_s >= _HANGS_S:
            self._is_told = True
            self._trouble.bad(f"writing {self._path} hangs: its file system does not answer")

    def end(self) -> None:
        """Remove the file: from now on nobody keeps it up to date."""
        with self._wish:
            self._is_over = True
            self._wish.notify()
        self._thread.join(_REMOVE_S)

    def _run(self) -> None:
        while True:
            with self._wish:
                self._wish.wait_for(lambda: self._data is not None or self._is_over)
                if self._is_over:
                    break
                data, self._data = self._data, None
            if data is not None and data != self._before:
                self._write(data)
            self.asked_s = None
            os.eventfd_write(self._done_fd, 1)
        self._file.remove()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.is_owed = True
            self._trouble.bad(f"cannot write {self._path}: {error.strerror or error}")
        except TaskmanError as error:
            self.is_owed = True
            self._trouble.bad(f"{self._path} is not written: {error}")
        else:
            self.is_owed = False
            self._before = data
            self._trouble.good(f"{self._path} is written again")
            if self._file.note:
                self._notes.bad(self._file.note, level="warning")


class Exporter:
    """Waits for the settings, for scrapers and for changes."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._collector: Collector | None = None
        self._server = Server(tell)
        self._writer: FileWriter | None = None
        #: When the file is to be written, on the monotonic clock; None: not before the next change.
        self._write_at_s: float | None = None
        self._written_s = -WRITE_S
        self._wants_write = False
        self._input = bytearray()

    def run(self) -> None:
        """Run until standard input ends."""
        while True:
            parts = [part for part in (self._server, self._collector, self._writer) if part is not None]
            poll = select.poll()
            for fd in (0, *(part.fileno() for part in parts)):
                poll.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(self._wait_ms())}
            now_s = time.monotonic()
            if 0 in ready and not self._read(now_s):
                self._server.close()
                if self._writer:
                    self._writer.end()
                return
            if self._collector is None:
                continue
            if self._collector.fileno() in ready:
                self._collector.clear()
                self._collected(now_s)
            if self._writer and self._writer.fileno() in ready:
                self._writer.clear()
                if self._writer.is_owed:
                    self._changed(now_s)
            self._server.turn(now_s)
            if self._server.is_waited_for:
                self._serve(now_s)
            if self._write_at_s is not None and self._write_at_s <= now_s:
                self._write_at_s = None
                self._wants_write = True
                self._collector.ask()
            if self._writer:
                self._writer.check(now_s)

    def _wait_ms(self) -> float | None:
        hangs_at_s = self._writer.hangs_at() if self._writer else None
        times = [self._server.next_timer(), self._write_at_s, hangs_at_s]
        known = [at_s for at_s in times if at_s is not None]
        return None if not known else max(0.0, min(known) - time.monotonic()) * 1000 + 1

    # --- the scheduler ---

    def _read(self, now_s: float) -> bool:
        """Take what the scheduler says; tell whether it is still there."""
        data = os.read(0, 1 << 16)
        if not data:
            return False
        self._input += data
        while len(self._input) >= PREFIX:
            length = int.from_bytes(self._input[:PREFIX], "big")
            if len(self._input) < PREFIX + length:
                break
            told = marshal.loads(self._input[PREFIX : PREFIX + length])  # noqa: S302 - our own process wrote it
            del self._input[: PREFIX + length]
            if told is None:
                self._changed(now_s)
            else:
                self._configure(told, now_s)
        return True

    def _configure(self, settings: dict[str, Any], now_s: float) -> None:
        before, self._settings = self._settings, settings
        if self._collector is None:
            self._collector = Collector(Path(settings["directory"]))
        trust = Trust.from_json(settings["trust"])
        self._server.listen(settings["listen"], trust, now_s)
        if settings["textfile"] != before.get("textfile"):
            if self._writer:
                self._writer.end()
            path = settings["textfile"]
            self._writer = FileWriter(TextFile(path, trust), path) if path else None
            self._written_s = -WRITE_S
        self._changed(now_s)

    def _changed(self, now_s: float) -> None:
        """Write the file soon, but not too soon after the last time."""
        if self._writer:
            self._write_at_s = max(now_s, self._written_s + WRITE_S)

    # --- what was collected ---

    def _serve(self, now_s: float) -> None:
        assert self._collector is not None
        found = self._collector.fresh(now_s)
        if found is None:
            self._collector.ask()
        else:
            self._server.answer(found, now_s)

    def _collected(self, now_s: float) -> None:
        assert self._collector is not None
        found = self._collector.fresh(now_s)
        if found is None:
            return
        self._server.answer(found, now_s)
        if not self._wants_write or self._writer is None:
            return
        self._wants_write = False
        self._written_s = now_s
        if isinstance(found, str):  # the scheduler did not answer
            self._write_at_s = now_s + WRITE_S
            return
        self._writer.write(render(found, Format.PROMETHEUS).encode(), now_s)
        _say({"since": found.whole["step"]})


def main() -> None:
    """Serve and write until standard input ends."""
    os.nice(_NICE)
    os.set_blocking(1, False)  # a scheduler that is stopped reads nothing
    try:
        Exporter().run()
    except RuntimeError as error:  # no thread for now: another process comes
        tell("error", f"their process ends: {error}")
    os._exit(0)  # a thread may hang in a system call


if __name__ == "__main__":
    main()
