"""What each call finds, whatever the one before has left; runs in the job's interpreter, like `pyworker`.

That is what a process of its own would have: descriptors, streams, arguments, environment with time zone and
locale, directory, umask and signals.
"""

from __future__ import annotations

import _locale

# The module `signal` makes enums of all numbers, at each call.
import _signal  # type: ignore[import-not-found]
import io
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable  # noqa: UP035 - for Python 3.8

_putenv = os.putenv
_DEFAULT = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Place:
    """The process of a worker, as its calls see it."""

    def __init__(self, null: int, asking: tuple[Any, ...], on_asked: Callable[[int, Any], None]) -> None:
        """`null` is the empty device; the signals of `asking` are what `on_asked` is called for."""
        self._null = null
        self._flush_c = _c_flush()
        self._streams: tuple[Any, ...] = ()
        self._has_input = False
        #: All that the last call had printed was written.
        self._is_whole = True
        #: The environment of the last call: all of it, what is the same for many, and what it added to that.
        self._env: dict[bytes, bytes] = {}
        self._shared: dict[bytes, bytes] = {}
        self._added: dict[str, str] = {}
        self._environ = os.environ
        self._depth = sys.getrecursionlimit()
        self._locale = _locale.setlocale(_locale.LC_ALL)
        #: What every call finds signals set to; SIGPIPE as Python has it.
        self._actions: list[tuple[int, Any]] = [(number, on_asked) for number in asking]
        self._actions += [(number, signal.SIG_DFL) for number in _DEFAULT]
        self._actions.append((signal.SIGPIPE, signal.SIG_IGN))
        for number, action in self._actions:
            signal.signal(number, action)

    def prepare(self, plan: tuple[Any, ...], added: dict[str, str], output: int, given: int | None) -> None:
        """Make the place ready for a call; `given` is its standard input."""
        call, _, cwd, umask, shared, _, _ = plan
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        if given is not None:
            os.dup2(given, 0)
            os.close(given)
        self._renew_streams(has_input=given is not None)
        self._set_environment(shared, added)
        _enter(cwd)
        os.umask(umask)
        for number, action in self._actions:
            if _signal.getsignal(number) != action:
                _signal.signal(number, action)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        sys.argv = [call]

    def take_back(self) -> None:
        """Undo what a call has set that would break the next one, or what we do after it."""
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        if _locale.setlocale(_locale.LC_ALL) != self._locale:
            _locale.setlocale(_locale.LC_ALL, self._locale)
        for timer in _TIMERS:
            _signal.setitimer(timer, 0)

    def flush(self) -> None:
        """Have all that a call has printed be in its pipe."""
        _, out, err = self._streams
        try:
            if sys.stdout is out and sys.stderr is err:
                out.flush()
                err.flush()
                self._is_whole = self._flush_c()
                return
        except BaseException:  # noqa: S110 - closed by the call, or deleted
            pass
        is_whole = _flush(out)
        is_whole &= _flush(err)
        if (other := getattr(sys, "stdout", None)) is not out:
            is_whole &= _flush(other)
        if (other := getattr(sys, "stderr", None)) is not err:
            is_whole &= _flush(other)
        self._is_whole = is_whole & self._flush_c()

    def let_go(self) -> None:
        """Leave the pipe of a call to what it has left running."""
        for number in (0, 1, 2):
            os.dup2(self._null, number)
        if not self._is_whole:  # what could not be written is none of the next call's
            self.flush()

    def _set_environment(self, shared: dict[bytes, bytes], added: dict[str, str]) -> None:
        before, self._added = self._added, added
        os.environ = self._environ  # noqa: B003 - the same again
        self._is_zone_changed = False
        self._change_environment(shared, added, before)
        if self._is_zone_changed:
            time.tzset()

    def _change_environment(
        self, shared: dict[bytes, bytes], added: dict[str, str], before: dict[str, str]
    ) -> None:
        env: Any = os.environb
        if shared is self._shared and getattr(env, "_data", None) == self._env:
            # Nobody has touched it: only what calls add to it differs.
            if before.keys() != added.keys():
                for name in before.keys() - added.keys():
                    key = _bytes(name)
                    self._change(env, key, shared.get(key))
            for name, text in added.items():
                if before.get(name) != text:
                    key, value = (
                        name.encode("utf-8", "surrogateescape"),
                        text.encode("utf-8", "surrogateescape"),
                    )
                    if key[:2] == b"TZ" or key not in self._env:
                        self._change(env, key, value)
                    else:  # as `os.environb` does it, with less ado
                        try:
                            _putenv(key, value)
                        except (OSError, ValueError):
                            self._change(env, key, value)
                        env._data[key] = self._env[key] = value
            return
        self._shared = shared
        wanted, found = dict(shared), dict(env)
        wanted.update((_bytes(name), _bytes(text)) for name, text in added.items())
        self._env = found.copy()
        for odd in found.keys() - wanted.keys():
            self._change(env, odd, None)
        for key, value in wanted.items():
            if found.get(key) != value:
                self._change(env, key, value)

    def _change(self, env: Any, key: bytes, value: bytes | None) -> None:
        if key.startswith(b"TZ"):
            self._is_zone_changed = True
        if value is None:
            self._env.pop(key, None)
            env.pop(key, None)
            return
        try:
            self._env[key] = env[key] = value
        except (OSError, ValueError) as error:
            raise ValueError("cannot set the variable %r: %s" % (os.fsdecode(key), error)) from None  # noqa: UP031

    def _renew_streams(self, *, has_input: bool) -> None:
        """Make the streams anew that a call closed, replaced or has read from."""
        out, err = self._streams[1:] if self._streams else (None, None)
        if not _is_as_made(out, "stdout", "surrogateescape"):
            out = _text(1, "surrogateescape")
        if not _is_as_made(err, "stderr", "backslashreplace"):
            err = _text(2, "backslashreplace")
        stdin: Any = self._streams[0] if self._streams else None
        if has_input or self._has_input or not _is_as_made(stdin, "stdin", "surrogateescape"):
            given = io.BufferedReader(io.FileIO(0, "r", closefd=False))
            stdin = io.TextIOWrapper(given, "utf-8", "surrogateescape")
        self._has_input = has_input
        self._streams = (stdin, out, err)
        sys.stdin = sys.__stdin__ = stdin  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = err  # type: ignore[misc]


def _bytes(text: str) -> bytes:
    """Return text as a command gets it, whatever encoding the names of this interpreter have."""
    return text.encode("utf-8", "surrogateescape")


def _enter(directory: str) -> None:
    try:
        os.chdir(_bytes(directory))
    except OSError as error:
        error.filename = directory  # in words, and not as bytes
        raise


def _is_as_made(stream: Any, name: str, errors: str) -> bool:
    """Tell if a stream is still in its place, open, and set as we have set it."""
    try:
        return (
            stream is getattr(sys, name)
            and not stream.closed
            and stream.encoding == "utf-8"
            and stream.errors == errors
            and stream.line_buffering == (name != "stdin")
        )
    except (AttributeError, ValueError):  # deleted, or detached from its descriptor
        return False


def _flush(stream: Any) -> bool:
    try:
        stream.flush()
    except BaseException:  # closed by the call, or an object of its own
        return False
    return True


def _text(fd: int, errors: str) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=True)


def _c_flush() -> Callable[[], bool]:
    """Return what flushes the streams of C code."""
    try:
        import ctypes

        flush = ctypes.CDLL(None).fflush
    except (ImportError, OSError, AttributeError):
        return lambda: True
    return lambda: flush(None) == 0
