"""The forms of a log line: text, text for a journal that adds the time itself, JSON, and journald's own.

No control character of a job's name or output, and no byte that is not UTF-8, gets through any of them.
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from datetime import datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.escapes import as_utf8, printable
from taskman_cli.scheduler.logs.fields import FIELDS, fields_of
from taskman_cli.scheduler.logs.loggers import LEVELS
from taskman_cli.supervisor.journald import IDENTIFIER, MESSAGE_IDS, encode, priority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

#: By number, as they are written.
_NAMES = {number: level.value for level, number in LEVELS.items()}
_WIDTH = max(map(len, ("info", "notice", "warning", "error")))
_PADDED = {number: f"{name:<{_WIDTH}}" for number, name in _NAMES.items()}
#: What an error looks like on a terminal: SGR of ECMA-48, which all terminals know.
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def _name(level: int) -> str:
    return _NAMES.get(level) or logging.getLevelName(level).lower()


class _Moments:
    """The times of lines, of which many fall into one second."""

    def __init__(self, timezone: tzinfo | None) -> None:
        self._timezone = timezone
        #: The last second; its text, the offset, and both.
        self._last = (-1, "", "", "")

    def parts(self, created_s: float) -> tuple[int, str, str, str]:
        """Return the second, a time down to that, its offset, and both as one text."""
        last = self._last
        if last[0] != int(created_s):
            second = int(created_s)
            moment = datetime.fromtimestamp(second, self._timezone)
            moment = moment if moment.tzinfo else moment.astimezone()
            at, whole = moment.replace(tzinfo=None).isoformat(), moment.isoformat()
            last = self._last = (second, at, whole[len(at) :], whole)
        return last


class _Form(logging.Formatter, ABC):
    """A form as a formatter of the standard library, for a configuration of the user's own."""

    #: Whether a line shows more than the message.
    has_fields = False

    def __init__(self, timezone: tzinfo | None = None) -> None:
        """`timezone` None: the machine's."""
        super().__init__()
        self._moments = _Moments(timezone)

    def format(self, record: logging.LogRecord) -> str:
        """Make the line of a record."""
        fields = fields_of(record)
        if record.exc_info:
            fields["error"] = self.error(record.exc_info)
        return self.make(record.created, record.levelno, record.name, record.getMessage(), fields)

    def error(self, info: Any) -> str:
        """Return a traceback as text."""
        return "".join(traceback.format_exception(*info)).rstrip("\n")

    @abstractmethod
    def make(self, created_s: float, level: int, name: str, message: str, fields: Mapping[str, Any]) -> str:
        """Return a line."""


class TextFormatter(_Form):
    """`2026-11-24T04:06:44+01:00 info    message`, perhaps in colour."""

    def __init__(self, timezone: tzinfo | None = None, *, is_colourful: bool = False) -> None:
        super().__init__(timezone)
        self._is_colourful = is_colourful

    def make(self, created_s: float, level: int, name: str, message: str, fields: Mapping[str, Any]) -> str:
        """Return a line, and below it a traceback."""
        at = self._moments.parts(created_s)[3]
        if not message.isprintable():
            message = printable(message)
        said = _PADDED.get(level) or f"{_name(level):<{_WIDTH}}"
        if self._is_colourful:
            colour = _COLOURS.get(level)
            shown = f"\x1b[{colour}m{said} {message}{_PLAIN}" if colour else f"{said} {message}"
            line = f"{_DIM}{at}{_PLAIN} {shown}"
        else:
            line = f"{at} {said} {message}"
        return f"{line}\n{_indented(fields['error'])}" if fields and "error" in fields else line


class PriorityFormatter(_Form):
    """`<6>message`, as sd-daemon(3) has it: for what adds the time itself."""

    def make(self, created_s: float, level: int, name: str, message: str, fields: Mapping[str, Any]) -> str:
        """Return lines, each with its priority."""
        text = printable(message, kept="\n")
        if "error" in fields:
            text += f"\n{_indented(fields['error'])}"
        mark = f"<{priority(level)}>"
        return mark + text.replace("\n", f"\n{mark}")


class JsonFormatter(_Form):
    """One JSON object a line, in ASCII; docs/logs.md describes the keys."""

    has_fields = True

    def make(self, created_s: float, level: int, name: str, message: str, fields: Mapping[str, Any]) -> str:
        """Return a line."""
        _, at, offset, _ = self._moments.parts(created_s)
        line = (
            f'{{"time": "{at}.{int(created_s % 1 * 1000):03d}{offset}", "level": "{_name(level)}", '
            f'"part": {_string(part_of(name))}, "message": {_string(message)}'
        )
        rest = [f', "{key}": {_WRITERS.get(type(value), _other)(value)}' for key, value in fields.items()]
        return f"{line}{''.join(rest)}}}"


class JournalEntry(NamedTuple):
    """A line for journald, and what is written where journald is gone."""

    data: bytes
    plain: str


class JournalForm:
    """The fields of journald."""

    has_fields = True

    def __init__(self, plain: _Form | None = None) -> None:
        """`plain` makes the lines that are written where journald is gone."""
        self.plain = plain or PriorityFormatter()
        self.error = self.plain.error

    def make(
        self, created_s: float, level: int, name: str, message: str, fields: Mapping[str, Any]
    ) -> JournalEntry:
        """Return a line; journald adds time and process."""
        pairs = [
            ("MESSAGE", _shown(message)),
            ("PRIORITY", str(priority(level))),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
            ("TASKMAN_PART", _shown(part_of(name))),
        ]
        for key, value in fields.items():
            if value is not None:
                pairs.append((_JOURNAL_NAMES[key], _shown(str(value))))
        if event := MESSAGE_IDS.get(fields.get("event", "")):
            pairs.append(("MESSAGE_ID", event))
        return JournalEntry(encode(pairs), self.plain.make(created_s, level, name, message, fields))


#: The names of fields in the journal.
_JOURNAL_NAMES = {name: f"TASKMAN_{name.upper()}" for name in FIELDS}


def _shown(text: str) -> str:
    return text if text.isprintable() else printable(text, kept="\n\t")


def part_of(name: str) -> str:
    """Return the part that a logger is for."""
    return name.removeprefix("taskman.")


def _string(text: str) -> str:
    """Write a JSON string; half a surrogate pair would be refused by strict readers."""
    return encode_basestring_ascii(text if text.isascii() else as_utf8(text))


def _other(value: object) -> str:
    return _string(str(value))


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: _string,
    int: repr,
    float: repr,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}


def _indented(text: str) -> str:
    """Show a traceback so that none of its lines can be taken for a line of the log."""
    return "\n".join(f"  {line}" for line in printable(text, kept="\n\t").split("\n"))
