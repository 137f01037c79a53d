"""`command`: a program that gets a message as JSON on its standard input, and the gist of it in variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import as_utf8, printable
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.document import as_json, message_document
from taskman_cli.sinks.patience import Deadline
from taskman_cli.sinks.program import Program, run, shell
from taskman_cli.sinks.words import plain_text, title_of, worst_level

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

#: EX_DATAERR of sysexits.h: the message itself is refused.
_REFUSED = 65
#: EX_UNAVAILABLE and EX_TEMPFAIL: come back later.
_LATER = (69, 75)
#: A variable is no place for more.
_LONGEST = 4096


class Command:
    """A sink that runs a program."""

    def __init__(self, definition: SinkDefinition, surroundings: Surroundings) -> None:
        settings = definition.settings
        command = settings["command"]
        self._argv = [str(word) for word in command] if isinstance(command, list) else shell(str(command))
        given = settings.get("env", {})
        assert isinstance(given, dict)
        self._own = {name: str(value) for name, value in given.items()}
        self._inherited = surroundings.inherited()
        self._cwd = str(settings["cwd"]) if "cwd" in settings else None
        self._user = str(settings.get("user", ""))
        self._name = definition.name
        self._is_text = definition.format == "text"

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Run the program; 0 says that it took the message."""
        environment = {**self._inherited, **variables(message, self._name), **self._own}
        if self._is_text:
            data = plain_text(message).encode("utf-8")
        else:
            data = as_json(message_document(message)) + b"\n"
        program = Program(self._argv, environment, self._cwd, self._user)
        ended = run(program, data, Deadline(timeout_s))
        if ended.code != 0:
            raise DeliveryFailed(str(ended), is_final=ended.code == _REFUSED, is_down=ended.code in _LATER)
        return str(ended)

    def close(self) -> None:
        """Hold nothing: each program has ended."""


def variables(message: Message, sink: str) -> dict[str, str]:
    """Return what a program finds in its environment."""
    first = message.reports[0]
    is_one = len(message.reports) == 1
    found = {
        "TASKMAN_SINK": sink,
        "TASKMAN_KEY": message.key,
        "TASKMAN_TITLE": title_of(message),
        "TASKMAN_LEVEL": worst_level(message),
        "TASKMAN_REPORTS": str(len(message.reports)),
        "TASKMAN_EVENT": str(first.kind),
        "TASKMAN_HOST": first.host,
        "TASKMAN_INSTANCE": first.instance,
        "TASKMAN_TEST": "1" if message.is_test else "",
        "TASKMAN_JOB": first.job if is_one else "",
        "TASKMAN_TASK": first.task if is_one else "",
        "TASKMAN_RUN": first.run if is_one else "",
        "TASKMAN_ATTEMPT": str(first.attempt or "") if is_one else "",
        "TASKMAN_STATE": first.state if is_one else "",
        "TASKMAN_REASON": first.reason if is_one else "",
        "TASKMAN_DETAIL": first.detail if is_one else "",
        "TASKMAN_EXIT_CODE": str(first.exit_code) if is_one and first.exit_code is not None else "",
        "TASKMAN_SIGNAL": first.signal if is_one else "",
        "TASKMAN_COUNT": str(sum(report.count for report in message.reports)),
    }
    return {name: printable(as_utf8(value))[:_LONGEST] for name, value in found.items()}


def make(definition: SinkDefinition, surroundings: Surroundings, _secrets: Secrets) -> Command:
    """Make a sink of its definition."""
    return Command(definition, surroundings)
