"""A command as a user types it, in this process: that takes a tenth of the time of a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: What a command changes of its process, since that is its own.
_SIGNALS = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit code and what was written to both outputs."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, out.getvalue(), err.getvalue()


def call(
    words: Sequence[str | bytes],
    *,
    env: Mapping[str, str] = os.environ,
    cwd: str | Path | None = None,
    text: bool = False,
    check: bool = False,
    given: str = "",
    stderr: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[Any]:
    """Run `taskman` with these arguments, environment and directory; return its exit code and both outputs.

    `run` would become another program: it has a process of its own here too.
    """
    if words[0] == "run":
        argv = [Path(sys.executable).with_name("taskman"), *words]
        return subprocess.run(argv, env=env, cwd=cwd, text=text, check=check, capture_output=True)
    out, err = io.BytesIO(), io.BytesIO()
    if stderr == subprocess.STDOUT:
        err = out
    with _circumstances(env, cwd), _streams(given, out, err):
        code = main([os.fsdecode(word) for word in words])
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    said: list[Any] = [out.getvalue(), b"" if err is out else err.getvalue()]
    if text:
        said = [data.decode() for data in said]
    done = subprocess.CompletedProcess(["taskman", *words], code, *said)
    if check:
        done.check_returncode()
    return done


@contextlib.contextmanager
def _circumstances(env: Mapping[str, str], cwd: str | Path | None) -> Iterator[None]:
    assert threading.current_thread() is threading.main_thread(), "all threads share these"
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    ours, here, new = dict(os.environ), Path.cwd(), dict(env)
    try:
        os.environ.clear()
        os.environ.update(new)
        os.chdir(cwd or here)
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(ours)
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def _streams(given: str, out: io.BytesIO, err: io.BytesIO) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()), "utf-8")
    sys.stdout = _Kept(out, "utf-8", write_through=True)
    sys.stderr = _Kept(err, "utf-8", write_through=True)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


class _Kept(io.TextIOWrapper):
    """A stream that leaves what it writes to open."""

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):  # the command has closed it
            self.detach()
