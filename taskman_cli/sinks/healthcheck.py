"""`healthcheck`: pings as healthchecks.io has them, so that somebody notices when nothing runs at all.

A run that starts, its success, its failure with the exit code, and what else happens each have a path of
their own below the URL of a check; the id of the run tells overlapping ones apart.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from taskman_cli.core.sinks import ReportKind
from taskman_cli.core.urls import JOB_PLACE, what_is_wrong_with_places, what_is_wrong_with_url
from taskman_cli.sinks.base import DeliveryFailed, NotReached
from taskman_cli.sinks.document import as_json, report_document
from taskman_cli.sinks.hosts import Host
from taskman_cli.sinks.http import Asked
from taskman_cli.sinks.patience import Deadline
from taskman_cli.sinks.template import header_value
from taskman_cli.sinks.webhook import FINAL, IDEMPOTENCY_KEY, LATER
from taskman_cli.sinks.words import facts_of, output_of, title_of_report

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message, Report
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

_GOOD = frozenset((ReportKind.SUCCEEDED, ReportKind.RECOVERED))
_BAD = frozenset((ReportKind.FAILED, ReportKind.TIMED_OUT, ReportKind.LOST, ReportKind.SCHEDULER_DIED))
#: What the hosted service keeps of a body; others keep less.
_MOST_BYTES = 100_000
#: What runs are named after, for services that want a UUID.
_RUNS = uuid.UUID("6f4ab1f6-55b1-5c3a-8d2e-52f0a9f7b0d4")


class Healthcheck:
    """A sink that pings checks."""

    def __init__(self, definition: SinkDefinition, secrets: Secrets) -> None:
        self._settings = definition.settings
        self._secrets = secrets
        self._host = Host(definition.settings, secrets)
        self._is_json = definition.format == "json"

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Ping for each report."""
        deadline = Deadline(timeout_s)
        headers, client = self._host.headers(), self._host.client()
        said = "nothing to ping: it is about no job"
        for report in message.reports:
            url = self._url(report)
            if not url:
                continue
            answer = client.send(
                Asked(
                    "POST",
                    _below(url, suffix_of(report, is_test=message.is_test), report),
                    self._body(report),
                    {
                        "Content-Type": "application/json" if self._is_json else "text/plain; charset=utf-8",
                        IDEMPOTENCY_KEY: header_value(f"{message.key}/{report.seq}"),
                    },
                    headers,
                ),
                deadline,
            )
            if not 200 <= answer.status < 300:
                raise DeliveryFailed(
                    str(answer),
                    retry_after_s=answer.retry_after_s,
                    is_final=answer.status in FINAL,
                    is_down=answer.status in LATER,
                )
            said = str(answer)
        return said

    def _url(self, report: Report) -> str:
        """Return the URL of a check; "": there is none for this."""
        of_jobs = self._settings.get("urls", {})
        assert isinstance(of_jobs, dict)
        if report.job in of_jobs:
            url = self._secrets.reveal(of_jobs[report.job], "urls")
            self._secrets.hide_url(url)
        elif "url" not in self._settings:
            return ""
        else:
            url = self._host.url()
            if JOB_PLACE in url and not report.job:
                return ""
        if wrong := what_is_wrong_with_url(url) or what_is_wrong_with_places(url):
            raise NotReached(f"url: {wrong}")
        # The slugs of such services have no capital letters.
        return url.replace(JOB_PLACE, quote(report.job.lower(), safe=""))

    def _body(self, report: Report) -> bytes:
        if self._is_json:
            return as_json(report_document(report))[:_MOST_BYTES]
        head = f"{title_of_report(report)}\n\n{facts_of(report)}\n\n".encode()
        tail = output_of(report).encode("utf-8")
        return head + tail[-(_MOST_BYTES - len(head)) :]

    def close(self) -> None:
        """Hold nothing: each ping has a connection of its own."""


def suffix_of(report: Report, *, is_test: bool = False) -> str:
    """Return what a report adds to the path of a check."""
    kind = ReportKind(report.kind)
    if is_test:
        return "/log"
    if kind is ReportKind.STARTED:
        return "/start"
    if kind in _GOOD:
        return ""
    if kind is ReportKind.FAILED and report.exit_code is not None and 0 < report.exit_code <= 255:
        return f"/{report.exit_code}"
    return "/fail" if kind in _BAD else "/log"


def _below(url: str, suffix: str, report: Report) -> str:
    parts = urlsplit(url)
    query = [parts.query] if parts.query else []
    if report.run:
        name = f"{report.ledger}/{report.run}".encode("utf-8", "surrogatepass").hex()
        query.append(urlencode({"rid": uuid.uuid5(_RUNS, name)}))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + suffix, "&".join(query), ""))


def make(definition: SinkDefinition, _surroundings: Surroundings, secrets: Secrets) -> Healthcheck:
    """Make a sink of its definition."""
    return Healthcheck(definition, secrets)
