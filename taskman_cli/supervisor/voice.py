"""What the supervisor says, in the form of the log. It never waits for whoever reads that."""

from __future__ import annotations

import os
import select
import time

from taskman_cli.supervisor.journald import (
    IDENTIFIER,
    MESSAGE_IDS,
    JournalSocket,
    encode,
    leads_to_journald,
    priority,
)
from taskman_cli.supervisor.waitstatus import in_words
from taskman_cli.supervisor.wire import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from taskman_cli.supervisor.wire import Message

#: Levels, as in the standard library's `logging`, which is too large for this process.
DEBUG, NOTICE, WARNING, ERROR, CRITICAL = 10, 25, 30, 40, 50
_NAMES = {DEBUG: "debug", NOTICE: "notice", WARNING: "warning", ERROR: "error"}
_PLAIN = "\x1b[0m"
_COLOURS = {WARNING: "\x1b[33m", ERROR: "\x1b[31m"}
_STDERR = 2
#: Messages that are answered, so that a line about each would lead to the next.
_NOT_TRACED = ("said", "ping", "due")
#: Lines that wait for a scheduler whose log is configured by the user.
_MOST_UNTOLD = 100


class Voice:
    """Writes lines to standard error or journald, or leaves them to the scheduler."""

    def __init__(self) -> None:
        #: "plain" (without time and level), "text", "json", "journald", or "own": the scheduler logs them.
        self.form = "plain"
        self.level = NOTICE
        #: Not written, and not reported yet.
        self.dropped = 0
        #: For the scheduler: ("said", level, words, event, wall_ns).
        self._untold: list[Message] = []
        self._can_scheduler_hear: Callable[[], bool] = lambda: False
        self._journal = JournalSocket()
        self._epoll: select.epoll | None = None
        #: The descriptor that is watched for room.
        self._watched = -1

    def begin(self, epoll: select.epoll, can_scheduler_hear: Callable[[], bool]) -> None:
        """Take what tells when there is room again, and if there is a scheduler that logs."""
        self._epoll, self._can_scheduler_hear = epoll, can_scheduler_hear

    def configure(self, form: Any, level: Any) -> None:
        """Take form and level; what is unknown, or not given, stays as it is."""
        if form == "auto":
            form = "journald" if leads_to_journald(_STDERR, os.environ) else "text"
        if form in ("plain", "text", "json", "journald", "own"):
            self.form = form
        if isinstance(level, int):
            self.level = level

    def say(self, words: str, level: int = ERROR, event: str = "") -> None:
        """Say something, unless the level is too low; drop and count it if there is no room for it."""
        if level < self.level:
            return
        if self.form == "own":
            self._untold.append(("said", level, words, event, time.time_ns()))
            del self._untold[:-_MOST_UNTOLD]
            if self._can_scheduler_hear():
                return
        if not (self._report() and self._write(words, level, event)):
            self.dropped += 1
            self._wait_for_room()

    def trace(self, way: str, messages: list[Message]) -> list[Message]:
        """Say which messages come from the scheduler or go to it, if that is asked for; return them."""
        if self.level <= DEBUG:
            for message in messages:
                if message[0] not in _NOT_TRACED:
                    self.say(f"{way} the scheduler: {_in_words(message)}", DEBUG)
        return messages

    def untold(self) -> list[Message]:
        """Return what the scheduler has to log, once."""
        if not self._untold or not self._can_scheduler_hear():
            return []
        found, self._untold = self._untold, []
        return found

    def hear_from(self, fd: int) -> bool:
        """Report what was dropped if this descriptor was watched for room; return False if it was not."""
        if fd != self._watched or self._epoll is None:
            return False
        self._epoll.unregister(fd)
        self._watched = -1
        if not self._report():
            self._wait_for_room()
        return True

    def _report(self) -> bool:
        """Say how much was dropped; return False if there is still no room for that."""
        if not self.dropped:
            return True
        lines = "1 line" if self.dropped == 1 else f"{self.dropped:,} lines"
        words = f"{lines} dropped: the log was not read fast enough"
        is_said = self._write(words, WARNING, "dropped", self.dropped)
        if is_said:
            self.dropped = 0
        return is_said

    def _write(self, words: str, level: int, event: str, count: int = 0) -> bool:
        shown = "".join(char if char.isprintable() else visible(char) for char in words)
        if self.form == "journald":
            try:
                return self._journal.send(_entry(shown, level, event, count))
            except OSError:  # it is gone: what it would get goes where its stream leads
                self._journal.close()
        return _write_stderr(self._line(shown, level, event, count))

    def _line(self, shown: str, level: int, event: str, count: int) -> bytes:
        """Return a line that a pipe takes as a whole."""
        if self.form == "json":
            while len(line := _json(shown, level, event, count)) > select.PIPE_BUF:
                shown = shown[: -max(1, (len(line) - select.PIPE_BUF) // _MOST_BYTES)]
            return line
        end = b"\n"
        if self.form == "plain":
            begin = "taskman: "
        elif leads_to_journald(_STDERR, os.environ):  # which adds the time
            begin = f"<{priority(level)}>"
        else:
            begin = f"{_moment(time.time_ns())[0]} {_NAMES[level]:<7} "
            if _is_colourful():
                begin, end = f"{_COLOURS.get(level, _PLAIN)}{begin}", f"{_PLAIN}\n".encode()
        room = select.PIPE_BUF - len(begin) - len(end)
        return begin.encode() + shown.encode()[:room].decode(errors="ignore").encode() + end

    def _wait_for_room(self) -> None:
        """Have the loop tell when there is room; if the reader is gone for good, there never is."""
        if self._watched >= 0 or self._epoll is None:
            return
        fd = self._journal.fileno() if self.form == "journald" else _STDERR
        try:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            if all(
                not found & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, found in poll.poll(0)
            ):
                self._epoll.register(fd, select.EPOLLOUT)
                self._watched = fd
        except (OSError, ValueError):  # a file, which never has to wait
            return


def visible(char: str) -> str:
    """Escape a character, or a byte that is not UTF-8, as `core/escapes.py` does."""
    code = ord(char)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code < 0xDD00 else ascii(char)[1:-1]


#: What a character may take as JSON: two escapes.
_MOST_BYTES = 12


def _in_words(message: Message) -> str:
    words = name_of(message)
    if message[0] == "started":
        return f"{words} (process {message[2]})"
    if message[0] == "ended" and message[2].get("status") is not None:
        return f"{words} ({in_words(message[2]['status'])})"
    return words


def _write_stderr(line: bytes) -> bool:
    stderr = select.poll()
    stderr.register(_STDERR, select.POLLOUT)
    try:
        if stderr.poll(0) != [(_STDERR, select.POLLOUT)]:  # then PIPE_BUF bytes do not block
            return False
        return os.write(_STDERR, line) == len(line)
    except OSError:
        return False


def _moment(wall_ns: int) -> tuple[str, str, str]:
    """Return a time as ISO 8601, and its two parts."""
    local = time.localtime(wall_ns // 1_000_000_000)
    at, offset = time.strftime("%Y-%m-%dT%H:%M:%S", local), time.strftime("%z", local)
    offset = f"{offset[:3]}:{offset[3:]}"
    return at + offset, at, offset


def _json(shown: str, level: int, event: str, count: int) -> bytes:
    try:
        from _json import encode_basestring_ascii  # json itself is large
    except ImportError:
        from json.encoder import encode_basestring_ascii

    wall_ns = time.time_ns()
    _, at, offset = _moment(wall_ns)
    what = f', "event": "{event}"' if event else ""
    what += f', "count": {count}' if count else ""
    return (
        f'{{"time": "{at}.{wall_ns // 1_000_000 % 1000:03d}{offset}", "level": "{_NAMES[level]}", '
        f'"part": "supervisor", "message": {encode_basestring_ascii(shown)}{what}}}\n'
    ).encode()


def _entry(shown: str, level: int, event: str, count: int) -> bytes:
    fields = [
        ("MESSAGE", shown),
        ("PRIORITY", str(priority(level))),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("TASKMAN_PART", "supervisor"),
    ]
    if event:
        fields += [("TASKMAN_EVENT", event), ("MESSAGE_ID", MESSAGE_IDS[event])]
    if count:
        fields.append(("TASKMAN_COUNT", str(count)))
    return encode(fields)


def _is_colourful() -> bool:
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    return os.isatty(_STDERR) and not is_dumb and not os.environ.get("NO_COLOR")


VOICE = Voice()
say = VOICE.say
