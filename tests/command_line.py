"""A command as a user types it, in this process."""

from __future__ import annotations

import contextlib
import io

from taskman_cli.__main__ import main


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit code and what was written to both outputs."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()
