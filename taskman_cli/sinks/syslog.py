"""`syslog`: a message for each report, to the machine's own daemon, or by UDP or TCP to another one.

The machine's own gets what every program sends it through syslog(3), since neither journald nor rsyslog
expects anything else there; others get RFC 5424, by TCP with octet counting (RFC 6587).
"""

from __future__ import annotations

import os
import socket
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from taskman_cli.core.clock import wall_time
from taskman_cli.core.sinks import Facility
from taskman_cli.sinks.addresses import Addresses
from taskman_cli.sinks.base import NotReached
from taskman_cli.sinks.document import as_json, line_documents
from taskman_cli.sinks.http import send_all
from taskman_cli.sinks.journald import PRIORITIES
from taskman_cli.sinks.patience import Deadline, Patience
from taskman_cli.sinks.words import level_of, output_of, title_of_report
from taskman_cli.supervisor.journald import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message, Report
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

_LOCAL = "/dev/log"
_PORTS = {"udp": 514, "tcp": 601}
#: What receivers take: RFC 5424 wants 2,048 of all, and few take more in a datagram.
_MOST_BYTES = {"local": 8_192, "udp": 2_048, "tcp": 8_192}
#: As syslog(3) numbers them; 12 to 15 have no name there.
_FACILITIES = {facility: number if number < 12 else number + 4 for number, facility in enumerate(Facility)}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Syslog:
    """A sink that sends to a daemon of syslog."""

    def __init__(self, definition: SinkDefinition) -> None:
        settings = definition.settings
        self._address = str(settings.get("address", _LOCAL))
        self._kind = "local" if self._address.startswith("/") else self._address.partition(":")[0]
        self._facility = _FACILITIES[Facility(str(settings.get("facility", Facility.DAEMON)))]
        self._identifier = str(settings.get("identifier", IDENTIFIER))
        self._is_json = definition.format == "json"
        self._addresses = Addresses(Patience())

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Send a message for each report."""
        deadline = Deadline(timeout_s)
        packets = list(self._packets(message))
        try:
            if self._kind == "local":
                self._send_here(packets, deadline)
            elif self._kind == "udp":
                self._send_datagrams(packets, deadline)
            else:
                self._send_stream(packets, deadline)
        except TimeoutError:
            raise NotReached(f"{self._address}: it does not take the message in time") from None
        except OSError as error:
            raise NotReached(f"{self._address}: {error.strerror or type(error).__name__}") from None
        return f"sent {len(packets)} to {self._address}, which never answers"

    def _send_here(self, packets: list[bytes], deadline: Deadline) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(deadline.left_s())
            to.connect(self._address)
            for packet in packets:
                to.settimeout(deadline.left_s())
                to.send(packet)

    def _send_datagrams(self, packets: list[bytes], deadline: Deadline) -> None:
        host, port = self._host()
        family, _, _, _, address = self._addresses.of(host, port, deadline, is_private_allowed=True)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as to:
            to.connect(address)
            for packet in packets:
                to.settimeout(deadline.left_s())
                to.send(packet)

    def _send_stream(self, packets: list[bytes], deadline: Deadline) -> None:
        with self._addresses.connect(*self._host(), deadline) as to:
            for packet in packets:
                send_all(to, b"%d %b" % (len(packet), packet), deadline)
            to.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hold nothing: each message has a socket of its own."""

    def _host(self) -> tuple[str, int]:
        parts = urlsplit(self._address)
        return parts.hostname or "", parts.port or _PORTS[self._kind]

    def _packets(self, message: Message) -> Iterator[bytes]:
        lines = line_documents(message) if self._is_json else None
        for place, report in enumerate(message.reports):
            if lines is not None:
                text = as_json(lines[place]).decode("ascii")
            else:
                output = output_of(report).replace("\n", " | ")
                title = title_of_report(report)
                text = ("test: " if message.is_test else "") + (f"{title} | {output}" if output else title)
            head = self._head(report).encode("ascii")
            room = _MOST_BYTES[self._kind] - len(head)
            yield head + text.replace("\t", " ").encode("utf-8")[:room].decode("utf-8", "ignore").encode(
                "utf-8"
            )

    def _head(self, report: Report) -> str:
        priority = self._facility * 8 + PRIORITIES[level_of(report)]
        if self._kind == "local":
            at = wall_time(report.at_ns, None)
            stamp = f"{_MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S}"
            return f"<{priority}>{stamp} {self._identifier}[{os.getpid()}]: "
        stamp = wall_time(report.at_ns, UTC).isoformat(timespec="milliseconds")
        host = _word(report.host, 255)
        fields = {"event": str(report.kind), "job": report.job, "task": report.task, "run": report.run}
        # 32473 is the number that RFC 5612 sets aside for those who have none.
        data = "".join(f' {name}="{_quoted(value)}"' for name, value in fields.items() if value)
        return (
            f"<{priority}>1 {stamp} {host} {_word(self._identifier, 48)} {os.getpid()} {report.kind} "
            f"[taskman@32473{data}] "
        )


def _word(text: str, longest: int) -> str:
    """Return a text as a word of ASCII; "-" is what RFC 5424 writes for none."""
    return "".join(char if "!" <= char <= "~" else "?" for char in text)[:longest] or "-"


def _quoted(text: str) -> str:
    shown = "".join(char if " " <= char <= "~" else "?" for char in text)[:128]
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def make(definition: SinkDefinition, _surroundings: Surroundings, _secrets: Secrets) -> Syslog:
    """Make a sink of its definition."""
    return Syslog(definition)
