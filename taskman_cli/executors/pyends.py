"""What became of a call, for its executor and for people; runs in the interpreter of the job."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import types
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_VALUE_BYTES = 64 << 10
_MOST_WORDS = 1000


def as_json(value: Any) -> str:
    """Return a value as JSON, or as Python shows it if JSON cannot hold it; "" for None.

    Raises TypeError for a generator: nothing of its function has run.
    """
    if value is None:
        return ""
    if isinstance(value, (types.GeneratorType, types.AsyncGeneratorType)):
        raise TypeError(
            "a function with yield does nothing when it is called: let one go through what it yields"
        )
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    except BaseException:
        text = _shown(value)
    if len(text) > _MOST_VALUE_BYTES:
        text = "%s... (%d characters)" % (text[:_MOST_WORDS], len(text))  # noqa: UP031
    return text


def _shown(value: Any) -> str:
    with suppress(BaseException):
        return repr(value)
    return "<" + type(value).__name__ + ">"


def failure(error: BaseException, cancelled: type) -> dict[str, Any]:
    """Print a traceback as Python would; return how the call failed."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or isinstance(code, int):
            return {"status": (code or 0) & 0xFF}
        _complain(_shown(code) if not isinstance(code, str) else code)
        return {"status": 1, "error": _words(error)}
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__)
        told.stack[:] = [frame for frame in told.stack if frame.filename != __file__]
        _complain("".join(told.format()).rstrip("\n"))
    except BaseException:  # what it is made of raises by itself
        _complain(type(error).__name__)
    if isinstance(error, cancelled):
        return {"signal": int(signal.SIGTERM), "error": _words(error)}
    return {"status": 1, "error": _words(error)}


def _words(error: BaseException) -> str:
    words = name = type(error).__name__
    with suppress(BaseException):
        words = name + ": " + str(error) if str(error) else name
    return words[:_MOST_WORDS]


def _complain(words: str) -> None:
    """Write to descriptor 2, whatever has become of sys.stderr."""
    with suppress(BaseException):  # closed by the call
        sys.stdout.flush()
        sys.stderr.flush()
    data = (words + "\n").encode("utf-8", "backslashreplace")
    with suppress(OSError):
        while data:
            data = data[os.write(2, data) :]
