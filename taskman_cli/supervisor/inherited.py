"""The environment as this process inherited it, before Python changed it."""

from __future__ import annotations

import os

#: What Python sets LC_CTYPE to if it finds the C locale (PEP 538).
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def drop_coerced_locale() -> None:
    """Remove an LC_CTYPE that Python has set: commands must not inherit it."""
    if os.environ.get("LC_CTYPE") not in _COERCED:
        return
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib is 3 MB
            given = file.read().split(b"\0")
    except OSError:
        return
    if not any(item.startswith(b"LC_CTYPE=") for item in given):
        del os.environ["LC_CTYPE"]
