"""What a job file says of sinks, the receivers of results: which there are, and what each of them is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.model import SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class ReportKind(StrEnum):
    """What a report tells: something about a run of a job, a job, or the scheduler."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RETRIED = "retried"
    #: The first success after a failure.
    RECOVERED = "recovered"
    PARKED = "parked"
    #: A run began later than `delayed_after`.
    DELAYED = "delayed"
    #: A run takes longer than `slow_after`.
    SLOW = "slow"
    #: There was no success for `expect_every`.
    OVERDUE = "overdue"
    SCHEDULER_STARTED = "scheduler_started"
    SCHEDULER_STOPPED = "scheduler_stopped"
    SCHEDULER_DIED = "scheduler_died"


#: They go to every sink whose `on` names them; the others to the sinks of their job.
OF_THE_SCHEDULER = frozenset(
    {ReportKind.SCHEDULER_STARTED, ReportKind.SCHEDULER_STOPPED, ReportKind.SCHEDULER_DIED}
)
#: What `on = ["problems"]` means, which is the default; of skips, those that nobody has asked for.
PROBLEMS = frozenset(
    {
        ReportKind.FAILED, ReportKind.TIMED_OUT, ReportKind.LOST, ReportKind.PARKED, ReportKind.DELAYED,
        ReportKind.SLOW, ReportKind.OVERDUE, ReportKind.RECOVERED, ReportKind.SCHEDULER_DIED,
    }
)  # fmt: skip
#: Skips that are no problem: somebody has asked for them.
_WANTED_SKIPS = frozenset({SkipReason.OVERLAP, SkipReason.PAUSED, SkipReason.DISABLED})

#: What a healthcheck is told unless its `on` says otherwise: such a service wants to hear of each run.
_OF_A_HEALTHCHECK = frozenset(
    {
        ReportKind.STARTED, ReportKind.SUCCEEDED, ReportKind.FAILED, ReportKind.TIMED_OUT, ReportKind.LOST,
        ReportKind.CANCELLED,
    }
)  # fmt: skip

#: The types of sinks that come with taskman; others are entry points of the group `taskman.sinks`.
SINK_TYPES = ("webhook", "mail", "command", "file", "journald", "syslog", "healthcheck", "apprise")
#: The templates that come with it: a file each in sinks/templates.
TEMPLATES = ("slack", "discord", "teams", "ntfy", "gotify", "pagerduty")
#: The sink that mails what the commands of crontabs print, and its type; no job file can define it.
MAILTO = "crontab-mail"
#: As `output_lines`: all that was captured.
ALL_OUTPUT = 1 << 30
#: Where a secret may come from: the key of its table, which has this one key.
SECRET_SOURCES = ("env", "file", "credential")


class Method(StrEnum):
    """What a webhook asks for."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"


class MailTls(StrEnum):
    """How the connection to a mail server is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Facility(StrEnum):
    """What part of a system a message of syslog is from."""

    KERN = "kern"
    USER = "user"
    MAIL = "mail"
    DAEMON = "daemon"
    AUTH = "auth"
    SYSLOG = "syslog"
    LPR = "lpr"
    NEWS = "news"
    UUCP = "uucp"
    CRON = "cron"
    AUTHPRIV = "authpriv"
    FTP = "ftp"
    LOCAL0 = "local0"
    LOCAL1 = "local1"
    LOCAL2 = "local2"
    LOCAL3 = "local3"
    LOCAL4 = "local4"
    LOCAL5 = "local5"
    LOCAL6 = "local6"
    LOCAL7 = "local7"


#: What a setting of a sink may be: what TOML has. A secret is a table such as {"env": "HOOK_SECRET"}.
Value = str | int | float | bool | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class SinkDefinition:
    """One sink, as `[sinks.NAME]` defines it."""

    name: str
    #: "webhook", "mail", …, or the name of an entry point of the group `taskman.sinks`.
    type: str
    #: Kinds by name; skips that are problems are in `tells_skips` alone.
    on: frozenset[ReportKind] = PROBLEMS
    #: Whether skips that are problems are told, though `on` does not have all skips.
    tells_skips: bool = True
    #: "json", "text", or the name of a template; "": what the type prefers.
    format: str = ""
    #: How many of the last lines of output go along.
    output_lines: int = 20
    #: Keys of its type as plain values: paths are absolute, durations nanoseconds; a secret is a table such
    #: as {"env": "HOOK_SECRET"}, which is not looked up yet. They may have passwords in them, so they are
    #: not shown.
    settings: Mapping[str, Value] = field(default_factory=dict, repr=False)
    #: After what time trouble that goes on is told again, with a count; 0: each time; None: not again.
    repeat_ns: int | None = 3600 * SECOND_NS
    #: What gathers in this time is one message; 0: each report is one.
    digest_ns: int = 0
    #: How many reports wait for it at most; beyond that the oldest go.
    keep: int = 1_000_000
    #: A report that the other side refuses so often is set aside.
    attempts: int = 10
    #: The first pause after a delivery that failed; it doubles up to the longest.
    delay_ns: int = SECOND_NS
    max_delay_ns: int = 300 * SECOND_NS
    #: How long one delivery may take.
    timeout_ns: int = 30 * SECOND_NS

    @property
    def waits_for_ends(self) -> bool:
        """Tell whether it raises an alarm where a run has begun, and neither succeeds nor fails."""
        return self.type == "healthcheck"

    def wants(self, kind: ReportKind, reason: SkipReason | None = None) -> bool:
        """Tell whether the sink is told of this; `reason` is that of a skip."""
        if kind in self.on:
            return True
        return kind is ReportKind.SKIPPED and self.tells_skips and reason not in _WANTED_SKIPS


def default_on(type_: str) -> frozenset[ReportKind]:
    """Return the kinds that a sink of a type is told if it does not say."""
    return _OF_A_HEALTHCHECK if type_ == "healthcheck" else PROBLEMS


def is_source(value: object) -> bool:
    """Tell whether a setting says where a secret comes from."""
    return isinstance(value, dict) and len(value) == 1 and not value.keys().isdisjoint(SECRET_SOURCES)


def secret_variables(definitions: Iterable[SinkDefinition]) -> frozenset[str]:
    """Return the environment variables that sinks take secrets from; no command gets them."""
    return frozenset(
        name
        for definition in definitions
        for key, value in definition.settings.items()
        if (definition.type, key) != ("command", "env")  # variables that it sets
        for name in _variables(value)
    )


def _variables(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        name = value.get("env")
        if is_source(value) and isinstance(name, str):
            yield name
            return
        for item in value.values():
            yield from _variables(item)
    elif isinstance(value, list):
        for item in value:
            yield from _variables(item)
