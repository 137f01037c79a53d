"""Tokens prove that a process was started as an attempt: only we can make the token in its environment.

Any user can set TASKMAN_RUN_ID in the environment of a process, but tokens are made with a secret from the
state directory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# hashlib would load OpenSSL, which costs 3 MB.
try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

#: The file of the secret in the state directory.
SECRET_FILE = "secret"  # noqa: S105 - a name
#: The environment variable of the token.
TOKEN_VARIABLE = "TASKMAN_TOKEN"  # noqa: S105 - a name

_SECRET_BYTES = 32
_TOKEN_BYTES = 16
_GROUP_LETTERS = 12


def read_secret(directory: Path) -> bytes:
    """Return the secret of a state directory, and create it if there is none; b"" if that is not possible.

    Without a secret, a command whose pid was not recorded cannot be found again: its run is lost.
    """
    path = directory / SECRET_FILE
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(fd)
            secret = os.read(fd, _SECRET_BYTES + 1)
            is_private = status.st_uid == os.geteuid() and not status.st_mode & 0o077
            if len(secret) == _SECRET_BYTES and is_private:
                return secret
            # New, cut off by a full disk, or readable by others: make another one.
            os.fchmod(fd, 0o600)
            secret = os.urandom(_SECRET_BYTES)
            os.ftruncate(fd, 0)
            if os.pwrite(fd, secret, 0) == _SECRET_BYTES:
                return secret
        finally:
            os.close(fd)
    return b""


def group_prefix(secret: bytes) -> str:
    """Return what the names of an instance's control groups begin with; no other instance has the same."""
    return f"taskman-{token_of(secret, 'groups')[:_GROUP_LETTERS] or os.geteuid()}-"


def token_of(secret: bytes, key: str) -> str:
    """Return the token of an attempt; "" without a secret."""
    if not secret:
        return ""
    mac = blake2b(key.encode(), key=secret, digest_size=_TOKEN_BYTES)
    token: str = mac.hexdigest()
    return token
