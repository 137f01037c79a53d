"""`webhook`: a request to a web server, with JSON, text, or what a service wants to get."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from taskman_cli.core.templates import MOST_BYTES
from taskman_cli.sinks import template
from taskman_cli.sinks.addresses import resolve
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.document import as_json, message_document
from taskman_cli.sinks.hosts import Host
from taskman_cli.sinks.http import Answer, Asked
from taskman_cli.sinks.patience import Deadline
from taskman_cli.sinks.template import Request, Template, TemplateError
from taskman_cli.sinks.words import plain_text

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.addresses import Resolver
    from taskman_cli.sinks.base import Message
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

#: The header with the signature: `sha256=` and the HMAC-SHA256 of the body in hexadecimal digits.
SIGNATURE = "Taskman-Signature"
#: The same for the same message at each attempt.
IDEMPOTENCY_KEY = "Idempotency-Key"
#: It is the message that is refused: another attempt gets the same answer.
FINAL = frozenset((400, 413, 422))
#: It says nothing of the message: come back later.
LATER = frozenset((408, 425, 429, 502, 503, 504))


def signature(secret: str, body: bytes) -> str:
    """Return what the header with the signature says."""
    return "sha256=" + hmac.new(secret.encode("utf-8", "surrogateescape"), body, hashlib.sha256).hexdigest()


class Webhook:
    """A sink that asks a web server."""

    def __init__(self, definition: SinkDefinition, secrets: Secrets, *, look_up: Resolver = resolve) -> None:
        """Raises ValueError if there is no such format."""
        self._settings = definition.settings
        self._secrets = secrets
        self._host = Host(definition.settings, secrets, look_up=look_up)
        self._write = self._writer(definition.format)

    def _writer(self, format_: str) -> Callable[[Message], Iterator[Request]]:
        if "template" in self._settings:
            return self._by_own_template
        if format_ in ("", "json"):
            return _by_json
        if format_ == "text":
            return _by_text
        found = template.named(format_)
        return lambda message: self._by_template(found, message)

    def _by_own_template(self, message: Message) -> Iterator[Request]:
        path = str(self._settings["template"])
        text = self._secrets.read(path, "template", MOST_BYTES)
        try:
            found = template.parse(text)
        except TemplateError as error:
            raise DeliveryFailed(f"template: {path}: {error}") from None
        yield from self._by_template(found, message)

    def _by_template(self, found: Template, message: Message) -> Iterator[Request]:
        given = self._settings.get("routing_key")
        routing_key = "" if given is None else self._secrets.reveal(given, "routing_key")
        yield from found.requests(message, routing_key=routing_key)

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Send a message."""
        deadline = Deadline(timeout_s)
        url, own_headers, client = self._host.url(), self._host.headers(), self._host.client()
        secret = self._settings.get("secret")
        answer = Answer(0, "")
        for request in self._write(message):
            headers = {
                "Content-Type": request.content_type,
                IDEMPOTENCY_KEY: template.header_value(request.key),
                **request.headers,
            }
            if secret is not None:
                headers[SIGNATURE] = signature(self._secrets.reveal(secret, "secret"), request.body)
            method = str(self._settings.get("method", "POST"))
            answer = client.send(Asked(method, url, request.body, headers, own_headers), deadline)
            if not 200 <= answer.status < 300:
                raise DeliveryFailed(
                    str(answer),
                    retry_after_s=answer.retry_after_s,
                    is_final=answer.status in FINAL,
                    is_down=answer.status in LATER,
                )
        return str(answer)

    def close(self) -> None:
        """Hold nothing: each request has a connection of its own."""


def _by_json(message: Message) -> Iterator[Request]:
    yield Request(message.key, "application/json", as_json(message_document(message)))


def _by_text(message: Message) -> Iterator[Request]:
    yield Request(message.key, "text/plain; charset=utf-8", plain_text(message).encode("utf-8"))


def make(definition: SinkDefinition, _surroundings: Surroundings, secrets: Secrets) -> Webhook:
    """Make a sink of its definition."""
    return Webhook(definition, secrets)
