"""Secrets of a sink: looked up when they are needed, and taken out of everything that is said.

A file is opened once, and what is judged is what is open. As root, a file that others can read or change is
refused. Nothing here is remembered for longer than a delivery needs it, so that a secret that is replaced is
used at once, except to take it out of words.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from taskman_cli.core.sinks import is_source
from taskman_cli.errors import TaskmanError
from taskman_cli.sinks.base import NotReached
from taskman_cli.sinks.patience import Deadline, Patience
from taskman_cli.sinks.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.sinks import Value

#: Larger files are no secrets.
MOST_SECRET_BYTES = 64 << 10
#: Longer than a local disk ever takes.
_READ_TIMEOUT_S = 10.0
#: Shorter ones are found in words by chance.
_SHORTEST = 4
#: How many secrets are remembered, to take them out of words.
_MOST_KNOWN = 64
#: What stands for a secret where one was.
HIDDEN = "***"


class Secrets:
    """Looks up what a sink's definition only names."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._patience = Patience()
        self._known: dict[str, None] = {}

    def reveal(self, value: Value, what: str) -> str:
        """Return a setting, looked up if it is the source of a secret; `what` names it in errors.

        Raises DeliveryFailed: it may be there at the next attempt.
        """
        if not is_source(value):
            secret = str(value)
        else:
            assert isinstance(value, dict)
            ((source, name),) = value.items()
            secret = self._look_up(source, str(name), what)
        self.hide(secret)
        return secret

    def _look_up(self, source: str, name: str, what: str) -> str:
        if source == "env":
            secret = self._surroundings.environ.get(name)
            if secret is None:
                raise NotReached(f"{what}: the environment variable {name} is not set")
        elif source == "file":
            secret = self._read(name, what)
        else:
            directory = self._surroundings.environ.get("CREDENTIALS_DIRECTORY", "")
            if not directory:
                raise NotReached(
                    f"{what}: there are no credentials: give the unit one with LoadCredential={name}:PATH"
                )
            secret = self._read(f"{directory}/{name}", what)
        if not secret:
            raise NotReached(f"{what}: the secret is empty")
        return secret

    def _read(self, path: str, what: str) -> str:
        text = self.read(path, what, MOST_SECRET_BYTES, refuse=self._refuse_readable(path, what))
        # Editors and `echo` end a file with a newline, which is no part of the secret.
        return text.removesuffix("\n").removesuffix("\r")

    def read(
        self, path: str, what: str, most_bytes: int, *, refuse: Callable[[os.stat_result], None] | None = None
    ) -> str:
        """Return the text of a file that decides what the sink does: trusted, regular, small, and there."""

        def read() -> bytes:
            fd = self._surroundings.trust.open(path, refuse=_refuse_odd)
            try:
                status = os.fstat(fd)
                _refuse_odd(status)
                if refuse is not None:
                    refuse(status)
                data = b""
                while piece := os.read(fd, most_bytes + 1 - len(data)):
                    data += piece
                return data
            finally:
                os.close(fd)

        try:
            data = self._patience.run(read, Deadline(_READ_TIMEOUT_S))
        except TimeoutError:
            raise NotReached(f"{what}: {path} does not answer") from None
        except TaskmanError as error:
            raise NotReached(f"{what}: {error}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a valid file name"
            raise NotReached(f"{what}: cannot read {path}: {reason}") from None
        if len(data) > most_bytes:
            raise NotReached(f"{what}: {path} is larger than {most_bytes} bytes")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise NotReached(f"{what}: {path} is not UTF-8") from None

    def _refuse_readable(self, path: str, what: str) -> Callable[[os.stat_result], None] | None:
        if not self._surroundings.trust.is_checked:
            return None

        def refuse(status: os.stat_result) -> None:
            others = status.st_mode & stat.S_IROTH or (status.st_mode & stat.S_IRGRP and status.st_gid != 0)
            if others:
                raise NotReached(f"{what}: others can read {path}: chmod 600 {path}")

        return refuse

    def hide(self, secret: str) -> None:
        """Take a text out of everything that the sink says from now on."""
        if len(secret) < _SHORTEST:
            return
        self._known[secret] = None
        while len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def hide_url(self, url: str) -> None:
        """Take a URL out of what is said, its path and its query too; the host is no secret."""
        self.hide(url)
        parts = urlsplit(url)
        whole = f"{parts.path}?{parts.query}" if parts.query else parts.path
        for part in (whole, parts.query, *parts.path.split("/")):
            # A short part of a path is a word such as "hook" rather than a token.
            if len(part) >= 12:
                self.hide(part)

    def scrub(self, words: str) -> str:
        """Return words without the secrets in them."""
        for secret in sorted(self._known, key=len, reverse=True):
            for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
                words = words.replace(form, HIDDEN)
        return words


def _refuse_odd(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(22, "not a regular file")


def look_up(value: Value, what: str = "a secret") -> str:
    """Return a setting of a type of your own, looked up if it is a secret; raises DeliveryFailed."""
    return Secrets(Surroundings()).reveal(value, what)
