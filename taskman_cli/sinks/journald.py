"""`journald`: an entry of systemd's journal for each report, with fields that `journalctl` can select by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import as_utf8
from taskman_cli.sinks.base import NotReached
from taskman_cli.sinks.document import report_document
from taskman_cli.sinks.words import level_of, output_of, title_of_report
from taskman_cli.supervisor.journald import IDENTIFIER, PATH, JournalSocket, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message, Report
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

#: Of syslog(3).
PRIORITIES = {"problem": 3, "warning": 4, "info": 6, "good": 6}
#: What `journalctl MESSAGE_ID=…` finds our reports by.
MESSAGE_ID = "3c6f0f8a7f5d4b0a9a1f5a0d5b1f6c2e"
#: Between two looks whether its queue has room.
_PAUSE_S = 0.02
#: Not among the fields: they are elsewhere, or make no sense alone.
_LEFT_OUT = frozenset(("title", "output", "output_cut"))


class Journald:
    """A sink that writes to systemd's journal."""

    def __init__(self, definition: SinkDefinition) -> None:
        settings = definition.settings
        self._identifier = str(settings.get("identifier", IDENTIFIER))
        self._name = definition.name
        self._path = str(settings.get("socket", PATH))
        self._socket = JournalSocket(self._path)

    def _is_taken(self, data: bytes) -> bool:
        try:
            return self._socket.send(data)
        except OSError as error:
            self._socket.close()
            why = error.strerror or type(error).__name__
            raise NotReached(f"journald: {self._path}: {why}") from None

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Write an entry for each report."""
        looks = max(1, int(timeout_s / _PAUSE_S))
        for report in message.reports:
            data = encode(self._fields(message, report))
            while not self._is_taken(data):
                looks -= 1
                if looks <= 0:
                    raise NotReached("journald has too much to read")
                time.sleep(_PAUSE_S)  # it reads some ten entries late
        return "handed to journald"

    def _fields(self, message: Message, report: Report) -> Iterator[tuple[str, str]]:
        title = title_of_report(report)
        yield "MESSAGE", f"test: {title}" if message.is_test else title
        yield "MESSAGE_ID", MESSAGE_ID
        yield "PRIORITY", str(PRIORITIES[level_of(report)])
        yield "SYSLOG_IDENTIFIER", self._identifier
        yield "TASKMAN_KEY", as_utf8(message.key)
        yield "TASKMAN_SINK", self._name
        for name, value in report_document(report).items():
            if name not in _LEFT_OUT and value is not None:
                yield f"TASKMAN_{name.upper()}", str(value)
        if output := output_of(report):
            yield "TASKMAN_OUTPUT", output

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def make(definition: SinkDefinition, _surroundings: Surroundings, _secrets: Secrets) -> Journald:
    """Make a sink of its definition."""
    return Journald(definition)
