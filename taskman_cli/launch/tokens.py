"""What proves that a process was started as an attempt: a token in its environment that only we can make.

Anybody can put TASKMAN_RUN_ID into the environment of a process of his; nobody else has the secret of the
state directory that tokens are made with.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# hashlib would bring OpenSSL along: 3 MB in a process that needs no more of it.
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


def read_secret(directory: Path) -> bytes:
    """Return the secret of a state directory, which is made where there is none; b"" where it cannot be.

    Without one, no command is found again whose process number was not on record: its run is then lost.
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
            # New, or cut off by a full disk, or open to others: nobody has to know it yet.
            os.fchmod(fd, 0o600)
            secret = os.urandom(_SECRET_BYTES)
            os.ftruncate(fd, 0)
            if os.pwrite(fd, secret, 0) == _SECRET_BYTES:
                return secret
        finally:
            os.close(fd)
    return b""


def token_of(secret: bytes, key: str) -> str:
    """Return the token of an attempt; "" without a secret."""
    if not secret:
        return ""
    mac = blake2b(key.encode(), key=secret, digest_size=_TOKEN_BYTES)
    token: str = mac.hexdigest()
    return token
