"""What the user's locale decides: how text is written for people. Never how bytes become text and back.

Arguments, paths, environments and files are bytes. Python decodes them as the locale says, so that a command
in a UTF-8 file would reach the shell in Latin-1. In its UTF-8 mode (PEP 540) it does not.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from pathlib import Path

from taskman_cli.supervisor.inherited import drop_coerced_locale

#: How to start a process of ours in the UTF-8 mode.
UTF8 = ("-X", "utf8")

_ESCAPED = "taskman.escaped"


def need_utf8() -> None:
    """Begin this process anew in the UTF-8 mode, unless the locale is a UTF-8 one or it is on already."""
    if sys.getfilesystemencoding() == "utf-8" or "utf8" in sys._xoptions or not sys.executable:
        return
    # Not sys.orig_argv: for an encoding such as Shift JIS, text does not always become the same bytes again.
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
    argv: list[str | bytes] = [sys.executable, *UTF8, *words]
    os.execv(sys.executable, argv)  # noqa: S606 - no shell is wanted


def settle() -> None:
    """Take back what Python made of the locale, and let output be written so that it never fails."""
    drop_coerced_locale()
    _fill_streams()
    codecs.register_error(_ESCAPED, _escape)
    # The mode makes these UTF-8 too, where it was put on by `UTF8`.
    encoding = _encoding() if "utf8" in sys._xoptions else None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors=_ESCAPED)


def _fill_streams() -> None:
    """Let nothing that is opened later be taken for a standard stream that was closed (`>&-`)."""
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
    """Return the encoding for people; None: it is right already."""
    import locale

    if os.environ.get("PYTHONIOENCODING"):
        return None
    if locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX"):
        return "utf-8"  # as Python and click have it: this locale says nothing of the terminal
    return locale.getencoding()


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write out what cannot be encoded: a byte that is not UTF-8 as `\xe9`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    from taskman_cli.core.escapes import visible  # hardly ever needed

    return "".join(map(visible, error.object[error.start : error.end])), error.end
