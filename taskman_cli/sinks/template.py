"""Templates of requests: what a service wants to get, as data files of TOML.

A template has `[body]`, a table that becomes JSON, or `text`, the body as it stands. In each string `{name}`
is replaced by a value, after the structure is known: so no value can leave its string. `escape` says how
characters are written that the service would take for its own, `[limits]` how many bytes a value may have,
`[levels.NAME]` values that depend on how bad it is. `each = true`: a request for each report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC
from importlib import resources
from typing import TYPE_CHECKING, Any

import tomli

from taskman_cli.core.clock import wall_time
from taskman_cli.core.escapes import as_utf8, printable
from taskman_cli.core.templates import ESCAPES, PLACE, what_is_wrong_with_template
from taskman_cli.sinks.base import Message
from taskman_cli.sinks.words import body_of, facts_of, output_of, title_of, worst_level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from taskman_cli.sinks.base import Report

#: A body that stands for the end of a text that was too long, or for its beginning.
_ELLIPSIS = "…"
_MARKDOWN = frozenset("\\`*_{}[]()<>#+-.!|~")


def _plain(char: str) -> str:
    return char


def _slack(char: str) -> str:
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"}.get(char, char)


def _discord(char: str) -> str:
    # A mention needs its @ right before the name. Inside of a block, only backticks end it.
    return {"@": "@\u200b", "`": "'"}.get(char, char)


def _markdown(char: str) -> str:
    if char == "\n":
        return "\n\n"
    return f"\\{char}" if char in _MARKDOWN else char


_ESCAPES: dict[str, Callable[[str], str]] = {
    "none": _plain,
    "slack": _slack,
    "discord": _discord,
    "markdown": _markdown,
}
assert (*_ESCAPES,) == ESCAPES
#: Of these the end is what matters.
_FROM_THE_END = frozenset(["output"])
#: The longest value where a template sets no limit.
_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    key: str
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class TemplateError(ValueError):
    """A template that cannot be used, and why."""


class Template:
    """How messages are written for one service."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Take the tables of its file; raises TemplateError."""
        if wrong := what_is_wrong_with_template(table):
            raise TemplateError(wrong)
        self._body = table["body"] if "body" in table else str(table["text"])
        self._is_json = "body" in table
        usual = "application/json" if self._is_json else "text/plain; charset=utf-8"
        self._type = str(table.get("content_type", usual))
        self._headers = {str(name): str(value) for name, value in table.get("headers", {}).items()}
        self._limits: dict[str, int] = table.get("limits", {})
        self._levels: dict[str, dict[str, Any]] = table.get("levels", {})
        self._is_for_each = table.get("each") is True
        self._escape = _ESCAPES[table.get("escape", "none")]

    def requests(self, message: Message, *, routing_key: str = "") -> Iterator[Request]:
        """Write what is sent for a message: one request, or one for each report."""
        if not self._is_for_each or len(message.reports) == 1:
            yield self._request(message, routing_key)
            return
        for report in message.reports:
            one = Message(f"{message.key}/{report.seq}", (report,), is_test=message.is_test)
            yield self._request(one, routing_key)

    def _request(self, message: Message, routing_key: str) -> Request:
        level = worst_level(message)
        values = {name: self._fitted(name, value) for name, value in _values(message, level).items()}
        values |= {name: of_level[level] for name, of_level in self._levels.items()}
        values["routing_key"] = routing_key
        filled = _filled(self._body, values)
        if self._is_json:
            body = json.dumps(filled, ensure_ascii=True, separators=(",", ":")).encode("ascii")
        else:
            body = str(filled).encode("utf-8")
        headers = {name: header_value(str(_filled(text, values))) for name, text in self._headers.items()}
        return Request(message.key, self._type, body, headers)

    def _fitted(self, name: str, value: str) -> str:
        """Escape a value and cut it to its limit, where no escape is cut in two."""
        limit = self._limits.get(name, _LIMIT)
        is_end_kept = name in _FROM_THE_END
        pieces: list[str] = []
        size = 0
        for char in reversed(value) if is_end_kept else value:
            piece = self._escape(char)
            size += len(piece.encode("utf-8"))
            if size > limit - len(_ELLIPSIS.encode("utf-8")) and len(value) > len(pieces) + 1:
                pieces.append(_ELLIPSIS)
                break
            pieces.append(piece)
        return "".join(reversed(pieces) if is_end_kept else pieces)


def header_value(text: str) -> str:
    """Write a text so that it can stand in a header, with no end of a line: RFC 2047 where it has to be."""
    from email.header import Header

    text = printable(as_utf8(text))
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=10_000).encode(linesep="")


def _values(message: Message, level: str) -> dict[str, str]:
    first = message.reports[0]
    is_one = len(message.reports) == 1
    jobs = ", ".join(dict.fromkeys(report.job for report in message.reports if report.job))
    texts = {
        "title": title_of(message),
        "body": body_of(message),
        "facts": facts_of(first) if is_one else body_of(message),
        "output": output_of(first) if is_one else "",
        "event": str(first.kind),
        "level": level,
        "job": jobs,
        "task": first.task if is_one else "",
        "run": first.run if is_one else "",
        "host": first.host,
        "instance": first.instance,
        "key": message.key,
        "dedup": _dedup(first),
        "detail": first.detail,
        "command": first.command if is_one else "",
        "at": wall_time(first.at_ns, UTC).isoformat(timespec="milliseconds"),
        "count": str(sum(report.count for report in message.reports)),
    }
    return {name: printable(as_utf8(text), kept="\n\t") for name, text in texts.items()}


def _dedup(report: Report) -> str:
    """Return what the failure and the recovery of one job share."""
    return f"taskman/{report.host}/{report.instance}/{report.job or 'scheduler'}"


def _filled(item: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(item, str):
        whole = PLACE.fullmatch(item)
        if whole is not None:
            return values[whole[1]]  # a number stays one
        return PLACE.sub(lambda place: str(values[place[1]]), item)
    if isinstance(item, dict):
        return {name: _filled(value, values) for name, value in item.items()}
    return [_filled(value, values) for value in item] if isinstance(item, list) else item


def parse(text: str) -> Template:
    """Read a template from the text of its file; raises TemplateError."""
    try:
        return Template(tomli.loads(text))
    except ValueError as error:  # TOMLDecodeError, or Python's limit on the digits of a number
        raise TemplateError(str(error)) from None
    except RecursionError:
        raise TemplateError("nested too deeply") from None


def named(name: str) -> Template:
    """Return a template that comes with taskman."""
    file = resources.files("taskman_cli.sinks") / "templates" / f"{name}.toml"
    return parse(file.read_text("utf-8"))
