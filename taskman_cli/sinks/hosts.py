"""The keys of sinks that ask web servers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.urls import what_is_wrong_with_url
from taskman_cli.sinks.addresses import Addresses, resolve
from taskman_cli.sinks.base import NotReached
from taskman_cli.sinks.http import Client, Reach
from taskman_cli.sinks.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.sinks import Value
    from taskman_cli.sinks.addresses import Resolver
    from taskman_cli.sinks.secrets import Secrets

#: The most that files of certificates have.
MOST_CA_BYTES = 4 << 20


class Host:
    """The other side of a sink that asks a web server, as its settings name it."""

    def __init__(
        self, settings: Mapping[str, Value], secrets: Secrets, *, look_up: Resolver = resolve
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._addresses = Addresses(Patience(), look_up)
        self._client: Client | None = None

    def client(self) -> Client:
        """Return what sends a request."""
        settings = self._settings
        ca = settings.get("ca")
        reach = Reach(
            connect_timeout_s=int(str(settings.get("connect_timeout_ns", 10 * SECOND_NS))) / SECOND_NS,
            ca="" if ca is None else self._secrets.read(str(ca), "ca", MOST_CA_BYTES),
            is_private_allowed=settings.get("allow_private") is not False,
            max_redirects=int(str(settings.get("max_redirects", 3))),
            proxy=self._proxy(),
        )
        if self._client is None or self._client.reach != reach:
            # It is kept because of the certificates, which take long to read.
            self._client = Client(reach, self._addresses)
        return self._client

    def _proxy(self) -> tuple[str, int] | None:
        given = self._settings.get("proxy")
        if given is None:
            return None
        url = self._secrets.reveal(given, "proxy")
        if wrong := what_is_wrong_with_url(url):
            raise NotReached(f"proxy: {wrong}")
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or 3128

    def url(self) -> str:
        """Return the URL."""
        url = self._secrets.reveal(self._settings["url"], "url")
        self._secrets.hide_url(url)
        return url

    def headers(self) -> dict[str, str]:
        """Return the headers that the server alone gets."""
        given = self._settings.get("headers", {})
        assert isinstance(given, dict)
        return {name: self._secrets.reveal(value, f"headers.{name}") for name, value in given.items()}
