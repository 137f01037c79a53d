"""The locale decides how output is encoded, and never how bytes become text and back.

Arguments, paths, environments and files are bytes. Python decodes them with the locale's encoding, so a
command in a UTF-8 file would reach the shell in Latin-1. In UTF-8 mode (PEP 540) it does not.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from pathlib import Path

from taskman_cli.supervisor.inherited import drop_coerced_locale

#: Options that start Python in UTF-8 mode.
UTF8 = ("-X", "utf8")

_ESCAPED = "taskman.escaped"


def need_utf8() -> None:
    """Run this process again in UTF-8 mode, unless that is on already or the locale uses UTF-8."""
    if sys.getfilesystemencoding() == "utf-8" or "utf8" in sys._xoptions or not sys.executable:
        return
    # Not sys.orig_argv: in an encoding such as Shift JIS, text may become other bytes.
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
    argv: list[str | bytes] = [sys.executable, *UTF8, *words]
    os.execv(sys.executable, argv)  # noqa: S606 - no shell is wanted


def settle() -> None:
    """Restore the locale variables that Python changed, and make writing of output never fail."""
    drop_coerced_locale()
    _fill_streams()
    codecs.register_error(_ESCAPED, _escape)
    # UTF-8 mode sets the encoding of these too.
    encoding = _encoding() if "utf8" in sys._xoptions else None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors=_ESCAPED)


def _fill_streams() -> None:
    """Open /dev/null for standard streams that were closed (`>&-`), so that no other file gets them."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        os.set_inheritable(fd, True)
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - a descriptor, for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def _encoding() -> str | None:
    """Return the encoding for output; None if it is right already."""
    import locale

    if os.environ.get("PYTHONIOENCODING"):
        return None
    if locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX"):
        return "utf-8"  # as in Python and click: this locale says nothing about the terminal
    return locale.getencoding()


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Escape what cannot be encoded: a byte that is not UTF-8 becomes `\xe9`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    from taskman_cli.core.escapes import visible  # rarely needed

    return "".join(map(visible, error.object[error.start : error.end])), error.end
