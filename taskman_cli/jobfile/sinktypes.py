"""The keys of `[sinks.NAME]` that a type of sink has, beside those that all sinks share.

The values are plain, as TOML has them, since they travel to the process of the sinks: paths are absolute,
durations nanoseconds. Secrets are only named here; that process looks them up. No message repeats a value
that may have a secret in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from taskman_cli.core.escapes import quoted
from taskman_cli.core.model import Durability
from taskman_cli.core.sinks import SINK_TYPES, TEMPLATES, Facility, MailTls, Method
from taskman_cli.core.urls import what_is_wrong_with_places
from taskman_cli.jobfile.problems import Fault, reject
from taskman_cli.jobfile.secrets import or_secret, read_secret
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.tables import Key, Keys, Values, keys, missing
from taskman_cli.jobfile.units import duration, read_path
from taskman_cli.jobfile.users import read_user
from taskman_cli.jobfile.values import (
    Context,
    Reader,
    array,
    choice,
    integer,
    read_boolean,
    read_command,
    read_env,
    read_line,
)
from taskman_cli.jobfile.web import read_headers, read_proxy, read_url_or_secret, read_urls

#: An address as mail programs take it from a command line, without a name beside it.
_ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9!#$%&'*+/=?^_{}~.-]{0,63}(@[A-Za-z0-9][A-Za-z0-9.-]{0,252})?")
_SYSLOG = re.compile(r"(udp|tcp)://(\[[0-9A-Fa-f:.%]+\]|[^\[\]/:@\s]+)(:\d{1,5})?")
_IDENTIFIER = re.compile(r"[!-~]{1,48}")


@shaped(type="string", pattern=whole(_ADDRESS.pattern))
def read_address(value: object, context: Context) -> str:
    """Read a mail address: that of a user of this machine, or with a domain."""
    address = read_line(value, context)
    if not _ADDRESS.fullmatch(address):
        raise reject(f'{quoted(address)} is not an address: write it without a name, as in "ops@example.org"')
    return address


def _one_or_more(reader: Reader, *, example: str) -> Reader:
    """Return a reader of a value, or of an array of some; the result is always a list."""
    several = array(reader, example=example)

    @shaped(anyOf=[shape_of(reader), {**(shape_of(several) or {}), "minItems": 1}])
    def read(value: object, context: Context) -> list[Any]:
        if type(value) is not list:
            return [reader(value, context)]
        if not value:
            raise reject(f"empty: write at least one, as in {example}")
        return list(several(value, context))

    return read


@shaped(**(shape_of(read_command) or {}))
def _read_command(value: object, context: Context) -> str | list[str]:
    command = read_command(value, context)
    return command if isinstance(command, str) else list(command)


@shaped(**(shape_of(read_env) or {}))
def _read_env(value: object, context: Context) -> dict[str, str]:
    return dict(read_env(value, context))


@shaped(**(shape_of(read_user) or {}))
def _read_user(value: object, context: Context) -> str:
    """Read the name of a user; the process of the sinks looks the user up again."""
    name: str = read_user(value, context).name
    return name


@shaped(type="string", pattern=r"^(/|udp://|tcp://)")
def _read_syslog(value: object, context: Context) -> str:
    address = read_line(value, context)
    match = _SYSLOG.fullmatch(address)
    is_valid = address.startswith("/") if match is None else int((match[3] or ":1")[1:]) in range(1, 65536)
    if not is_valid:
        raise reject(
            f'{quoted(address)} is no address: write "/dev/log", or as in "udp://logs.example.org:514"'
        )
    return address


@shaped(type="string", pattern=whole(_IDENTIFIER.pattern))
def _read_identifier(value: object, context: Context) -> str:
    text = read_line(value, context)
    if not _IDENTIFIER.fullmatch(text):
        raise reject(f"{quoted(text)} is no identifier: use up to 48 ASCII characters, and no blank")
    return text


_read_some = _one_or_more(or_secret(read_line), example='[{ env = "APPRISE_URL" }]')


@shaped(**(shape_of(_read_some) or {}))
def _read_services(value: object, context: Context) -> list[Any]:
    if context.accounts.is_run_here and find_spec("apprise") is None:
        raise reject("apprise is not installed: pip install 'taskman-scheduler[apprise]'")
    services: list[Any] = _read_some(value, context)
    return services


def _plain(reader: Reader) -> Reader:
    """Return a reader of an enum that returns the value as the file has it."""

    @shaped(**(shape_of(reader) or {}))
    def read(value: object, context: Context) -> str:
        return str(reader(value, context).value)

    return read


# --- the keys of each type ---

_HTTP = keys(
    Key("url", read_url_or_secret, about="The URL; one with a password in it may be a secret."),
    Key("headers", read_headers, about="More headers; each may be a secret."),
    Key(
        "connect_timeout",
        duration("10ms"),
        field="connect_timeout_ns",
        about="How long the other side may take to be connected to.",
    ),
    Key("ca", read_path, about="A file of certificates to trust instead of the system's."),
    Key(
        "allow_private",
        read_boolean,
        about="false: refuse addresses of this machine and of private networks, after redirects too.",
    ),
    Key("max_redirects", integer(0, 20), about="How many redirects to follow."),
    Key("proxy", or_secret(read_proxy), about="The URL of a proxy; none is taken from the environment."),
)
_IDENTIFIER_KEY = Key("identifier", _read_identifier, about="Under which name lines are logged.")

_TYPES: dict[str, Keys] = {
    "webhook": _HTTP
    | keys(
        Key("method", _plain(choice(Method)), about="The method of the request."),
        Key("secret", read_secret, about="Signs the body with HMAC-SHA256."),
        Key("template", read_path, about="A file with a template of your own, instead of format."),
        Key("routing_key", read_secret, about="The integration key of PagerDuty."),
    ),
    "mail": keys(
        Key("to", _one_or_more(read_address, example='["ops@example.org"]'), about="Who gets the mails."),
        Key("from", read_address, about="The sender; by default the user at this machine."),
        Key("host", read_line, about="The SMTP server; without it, the machine's sendmail is used."),
        Key("port", integer(1, 65535), about="Its port; by default 587, with TLS 465, without any 25."),
        Key("tls", _plain(choice(MailTls)), about="How the connection is encrypted."),
        Key("user", read_line, about="The user to log in as."),
        Key("password", read_secret, about="The password to log in with."),
        Key("allow_plain_password", read_boolean, about="true: send the password unencrypted if need be."),
        Key("ca", read_path, about="A file of certificates to trust instead of the system's."),
        Key(
            "connect_timeout",
            duration("10ms"),
            field="connect_timeout_ns",
            about="How long the server may take to be connected to.",
        ),
        Key("sendmail", read_path, about="The program that takes mails; by default sendmail."),
    ),
    "command": keys(
        Key("command", _read_command, about="The command, which gets JSON on its standard input."),
        Key("cwd", read_path, about="The directory that it starts in."),
        Key("env", _read_env, about="More environment variables."),
        Key("user", _read_user, about="The user that it runs as; any but taskman's own needs root."),
    ),
    "file": keys(
        Key("path", read_path, about="The file that lines are appended to."),
        Key(
            "durability",
            _plain(choice(Durability)),
            about="What lines survive; by default as [taskman] durability says.",
        ),
    ),
    "journald": keys(
        _IDENTIFIER_KEY, Key("socket", read_path, about="journald's socket, if it is not at its usual place.")
    ),
    "syslog": keys(
        Key("address", _read_syslog, about='Where it listens: a socket, or as in "udp://logs.example.org".'),
        Key("facility", _plain(choice(Facility)), about="The facility that messages are of."),
        _IDENTIFIER_KEY,
    ),
    "healthcheck": _HTTP
    | keys(Key("urls", read_urls, about="The URLs of jobs that have checks of their own, by name.")),
    "apprise": keys(
        Key(
            "urls",
            _read_services,
            about="URLs of services, as apprise has them; each may be a secret.",
        ),
    ),
}
assert (*_TYPES,) == SINK_TYPES

#: The keys without which a sink has nowhere to deliver to.
REQUIRED: dict[str, tuple[str, ...]] = {
    "webhook": ("url",),
    "mail": ("to",),
    "command": ("command",),
    "file": ("path",),
    "journald": (),
    "syslog": (),
    "healthcheck": (),
    "apprise": ("urls",),
}
_TEXTS = ("text", "json")
_FORMATS: dict[str, tuple[str, ...]] = {
    "webhook": ("json", "text", *TEMPLATES),
    "mail": ("text",),
    "command": ("json", "text"),
    "file": ("json", "text"),
    "journald": ("text",),
    "syslog": _TEXTS,
    "healthcheck": _TEXTS,
    "apprise": ("text",),
}


def keys_of(type_: str) -> Keys | None:
    """Return the keys that sinks of a type have by themselves; None: it is not one of ours."""
    return _TYPES.get(type_)


def formats_of(type_: str) -> tuple[str, ...]:
    """Return the formats that a type of ours can deliver in, its own first."""
    return _FORMATS[type_]


def settings_of(type_: str, values: Values) -> Values:
    """Return what a sink's definition holds of the values of its table: those of its type's keys."""
    known = _TYPES[type_]
    return {known[name].field or name: value for name, value in values.items() if name in known}


def faults_of(type_: str, table: Mapping[str, object], values: Values) -> list[Fault]:
    """Return what is wrong with a sink's keys taken together; `values` are those that are valid alone."""
    lacking = [name for name in REQUIRED[type_] if name not in table]
    faults = [missing(f'{name} is missing: a sink of type "{type_}" needs it') for name in lacking]
    if type_ in _RULES:
        faults += _RULES[type_](table, values)
    return faults


def _http_faults(table: Mapping[str, object], values: Values) -> list[Fault]:
    faults = []
    if values.get("allow_private") is False and "proxy" in table:
        faults.append(
            Fault(("proxy",), "not with allow_private = false: the proxy chooses the address", at_key=True)
        )
    return faults


def _healthcheck_faults(table: Mapping[str, object], values: Values) -> list[Fault]:
    faults = _http_faults(table, values)
    if not table.keys() & {"url", "urls"}:
        faults.append(missing("url is missing: set it, with {job} for the name of the job, or urls"))
    urls: dict[tuple[str, ...], Any] = {("url",): values.get("url")}
    urls |= {("urls", job): url for job, url in values.get("urls", {}).items()}
    for path, url in urls.items():
        if isinstance(url, str) and (wrong := what_is_wrong_with_places(url)):
            faults.append(Fault(path, wrong))
    return faults


def _webhook_faults(table: Mapping[str, object], values: Values) -> list[Fault]:
    faults = _http_faults(table, values)
    chosen = table.get("format")
    if "template" in table and "format" in table:
        faults.append(Fault(("template",), "not together with format: leave one of them out", at_key=True))
    if chosen == "pagerduty" and "routing_key" not in table:
        faults.append(Fault(("format",), 'PagerDuty needs a key: set routing_key = { env = "NAME" }'))
    if chosen != "pagerduty" and "routing_key" in table and "template" not in table:
        faults.append(Fault(("routing_key",), 'only valid with format = "pagerduty"', at_key=True))
    return faults


_OF_SMTP = ("port", "tls", "user", "password", "allow_plain_password", "ca", "connect_timeout")


def _mail_faults(table: Mapping[str, object], values: Values) -> list[Fault]:
    if "host" not in table:
        return [
            Fault((name,), "only valid with host, the SMTP server", at_key=True)
            for name in _OF_SMTP
            if name in table
        ]
    faults = []
    if "sendmail" in table:
        faults.append(Fault(("sendmail",), "not together with host: leave one of them out", at_key=True))
    if ("user" in table) != ("password" in table):
        given, needed = ("user", "password") if "user" in table else ("password", "user")
        faults.append(Fault((given,), f"only valid with {needed}", at_key=True))
    is_plain = values.get("tls") == MailTls.NONE
    if is_plain and "password" in table and not values.get("allow_plain_password"):
        faults.append(
            Fault(
                ("password",),
                'it would be sent unencrypted: set tls = "starttls", or allow_plain_password = true',
                at_key=True,
            )
        )
    return faults


_RULES: dict[str, Callable[[Mapping[str, object], Values], list[Fault]]] = {
    "webhook": _webhook_faults,
    "healthcheck": _healthcheck_faults,
    "mail": _mail_faults,
}
