"""The worker of type "python": runs in the job's own interpreter, one call after the other.

Its text is sent to `PYTHON -c`, so it needs nothing of this package, and Python 3.8 at the least. What is
said on the socket (`pywire`) never mixes with what a call prints: each call brings a pipe of its own.
"""

from __future__ import annotations

# The module `signal` makes enums of all numbers, at each call.
import _signal  # type: ignore[import-not-found]
import fcntl
import importlib
import importlib.util
import io
import os
import resource
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn  # noqa: UP035 - for Python 3.8

#: The lowest number that our own descriptors get, out of the way of calls that close a few.
_OWN_FDS = 100
_MOST_WORDS = 1000
#: The shortest time between two reports of progress.
_PROGRESS_GAP_S = 0.1
#: These ask a call to end, whatever an earlier call did to them.
_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_DEFAULT = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
#: A call may lower these, but not always raise them again.
_LIMITS = resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE


class Worker:
    """Calls functions for one executor."""

    def __init__(self, line: Any, jobs: Any, ends: Any) -> None:
        self._line = line
        self._ends = ends
        self._jobs = jobs
        self._pid = os.getpid()
        self._flush_c = _c_flush()
        self._told_at_s = 0.0
        #: That of the call that is made; 0: there is none.
        self._number = 0
        self._was_asked = False  # a signal came while there was none: maybe for the next call
        self._children_s = 0.0  # the processor time of children that have ended
        #: Files of modules that calls have imported, each with its fingerprint.
        self._seen: dict[str, Any] = {}
        #: As they were when they were read, which may be long before the call ends.
        self._read = _note_reads()
        self._known = set(sys.modules)
        self._files: dict[str, Any] = {}
        self._streams: tuple[Any, ...] = ()
        #: The environment of the last call; each says what differs in its own.
        self._env: dict[bytes, bytes] = {}
        self._has_input = False
        self._depth = sys.getrecursionlimit()
        self._standing = _standing()
        #: What every call finds signals set to; SIGPIPE as Python has it.
        self._actions: list[tuple[int, Any]] = [(number, self._asked_to_end) for number in _ASKING]
        self._actions += [(number, signal.SIG_DFL) for number in _DEFAULT]
        self._actions.append((signal.SIGPIPE, signal.SIG_IGN))
        for number, action in self._actions:
            signal.signal(number, action)
        self._null = _own(os.devnull, os.O_RDWR)
        self._peaks = _own("/proc/self/clear_refs", os.O_WRONLY)
        self._sizes = _own("/proc/self/statm", os.O_RDONLY)

    def serve(self) -> None:
        """Carry out calls until there are no more."""
        while True:
            try:
                frame, fds = self._line.receive()
            except EOFError:
                return
            if frame["type"] != "call":
                return
            if self._is_stale():
                self._line.send({"type": "stale"})
                return
            self._call(frame, *fds)

    def _is_stale(self) -> bool:
        """Tell if a file that was imported has changed since."""
        return any(_fingerprint(path) != seen for path, seen in self._seen.items())

    def _call(self, frame: dict[str, Any], output: int, given: int | None = None) -> None:
        try:
            self._prepare(frame, output, given)
        except OSError as error:
            self._let_go_of_output()
            self._line.send({"type": "refused", "words": str(error)})
            return
        self._jobs._current = self._jobs.Context(frame["context"], self._progress)
        before_s = time.process_time()
        told = None
        try:
            self._number = frame["number"]
            # A signal for this call may have come before it could be told that it was for this one.
            if self._was_asked and self._line.is_cancelled(self._number):
                self._asked_to_end(signal.SIGTERM, None)
            self._was_asked = False
            told = self._outcome(frame)
            self._number = 0
        except BaseException as error:  # asked to end before or after the call itself
            self._number = 0
            told = told or self._ends.failure(error, self._jobs.Cancelled)
        if os.getpid() != self._pid:
            # The call has forked, and this is the child: not the one that answers.
            self._flush()
            os._exit(told.get("status", 1))
        self._flush()
        self._jobs._current = None
        self._note_imports()
        self._let_go_of_output()
        told.update(self._used_since(before_s), type="done")
        if _standing() != self._standing:
            told["is_changed"] = True
        self._line.send(told)

    def _outcome(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Call the function; return how that ended, for the executor."""
        try:
            try:
                value = self._resolve(frame["call"])(*frame["args"], **frame["kwargs"])
                if hasattr(value, "__await__"):
                    import asyncio

                    value = asyncio.run(_awaited(value))
            finally:
                self._take_back()
            return {"status": 0, "value": self._ends.as_json(value)}
        except BaseException as error:
            return self._ends.failure(error, self._jobs.Cancelled)  # type: ignore[no-any-return]

    def _take_back(self) -> None:
        """Undo what a call has set that would break the next one, or what we do after it."""
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        for timer in _TIMERS:
            _signal.setitimer(timer, 0)

    def _used_since(self, before_s: float) -> dict[str, Any]:
        """Return what a call has used: processor time, ended children included, and memory."""
        ended, known_s = resource.getrusage(resource.RUSAGE_CHILDREN), self._children_s
        self._children_s = ended.ru_utime + ended.ru_stime
        cpu_s = time.process_time() - before_s + self._children_s - known_s
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        return {"cpu_s": cpu_s, "peak_bytes": peak_bytes, "rss_bytes": self._resident_bytes()}

    def _resident_bytes(self) -> int:
        with suppress(OSError, TypeError):
            return int(os.pread(self._sizes, 100, 0).split()[1]) * resource.getpagesize()
        return 0

    def _resolve(self, call: str) -> Callable[..., Any]:
        """Find `package.module:function`, or `/path/file.py:function`."""
        where, _, name = call.rpartition(":")
        found = self._file(where) if where.endswith(".py") else importlib.import_module(where)
        for part in name.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(call + " is not a function")
        return found  # type: ignore[no-any-return]

    def _file(self, path: str) -> Any:
        """Import a file once; its directory is searched for what it imports."""
        if path not in self._files:
            directory, file = os.path.split(path)
            if directory not in sys.path:
                sys.path.insert(0, directory)
            name = file[: -len(".py")]
            if not name.isidentifier() or name in sys.modules:
                name = "taskman_file_%d" % len(self._files)  # noqa: UP031
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            self._files[path] = module
        return self._files[path]

    def _prepare(self, frame: dict[str, Any], output: int, given: int | None) -> None:
        """Give a call what a process of its own would have: descriptors, environment, directory, signals."""
        for fd, number in ((self._null if given is None else given, 0), (output, 1), (output, 2)):
            os.dup2(fd, number)
        for fd in (given, output):
            if fd is not None:
                os.close(fd)
        self._renew_streams(has_input=given is not None)
        self._set_environment(frame)
        os.chdir(frame["cwd"] or "/")
        os.umask(frame["umask"])
        for number, action in self._actions:
            if _signal.getsignal(number) != action:
                _signal.signal(number, action)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        sys.argv[:] = [frame["call"]]
        if self._peaks is not None:
            with suppress(OSError):
                os.write(self._peaks, b"5")  # the peak of memory counts from here

    def _set_environment(self, frame: dict[str, Any]) -> None:
        """Have the environment be the call's, whatever the one before has done to it."""
        env: Any = os.environb if getattr(os.environb, "_data", None) == self._env else {}
        given = {os.fsencode(name): os.fsencode(value) for name, value in frame["set"].items()}
        for one in (self._env, env):
            for name in frame["unset"]:
                one.pop(os.fsencode(name), None)
            one.update(given)
        if env is not os.environb:
            found = dict(os.environb)
            for odd in found.keys() - self._env.keys():
                del os.environb[odd]
            for odd, text in self._env.items():
                if found.get(odd) != text:
                    os.environb[odd] = text

    def _renew_streams(self, *, has_input: bool) -> None:
        """Make the streams anew that a call closed, replaced or has read from."""
        out, err = self._streams[1:] if self._streams else (None, None)
        if out is None or out is not sys.stdout or out.closed:
            out = _text(1, "surrogateescape")
        if err is None or err is not sys.stderr or err.closed:
            err = _text(2, "backslashreplace")
        stdin: Any = self._streams[0] if self._streams else None
        if stdin is None or stdin is not sys.stdin or stdin.closed or has_input or self._has_input:
            given = io.BufferedReader(io.FileIO(0, "r", closefd=False))
            stdin = io.TextIOWrapper(given, "utf-8", "surrogateescape")
        self._has_input = has_input
        self._streams = (stdin, out, err)
        sys.stdin = sys.__stdin__ = stdin  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = err  # type: ignore[misc]

    def _flush(self) -> None:
        for stream in {sys.stdout, sys.stderr, *self._streams[1:]}:
            with suppress(BaseException):  # closed by the call, or an object of its own
                stream.flush()
        self._flush_c()

    def _let_go_of_output(self) -> None:
        """Leave the pipe of this call to what it has left running."""
        for number in (0, 1, 2):
            os.dup2(self._null, number)

    def _note_imports(self) -> None:
        """Fingerprint the files of new modules, except those of the interpreter and of packages."""
        if len(sys.modules) == len(self._known):
            return
        for name in set(sys.modules) - self._known:
            path = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(path, str) and not path.startswith(_INSTALLED) and "-packages/" not in path:
                self._seen[path] = self._read.get(path) or _fingerprint(path)
        self._known = set(sys.modules)

    def _progress(self, part: float | None, words: str) -> None:
        now_s = time.monotonic()
        if now_s - self._told_at_s < _PROGRESS_GAP_S and part != 1:
            return
        self._told_at_s = now_s
        if os.getpid() == self._pid:
            self._line.send({"type": "progress", "part": part, "words": words[:_MOST_WORDS]})

    def _asked_to_end(self, number: int, _frame: Any) -> None:
        """Tell the call, or break it off if it never asks."""
        context = self._jobs._current
        self._was_asked = not self._number
        if not self._number or context is None or os.getpid() != self._pid:
            return
        context._is_cancelled = True
        if not context._has_asked:
            raise self._jobs.Cancelled("asked to end by " + signal.Signals(number).name)


#: Where the modules of the interpreter are.
_INSTALLED = os.__file__.rpartition("/")[0] + "/"


def _text(fd: int, errors: str) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=True)


def _fingerprint(path: str) -> Any:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None


def _note_reads() -> dict[str, Any]:
    """Return fingerprints of the files that are imported from now on, each taken before the file is read."""
    from importlib.machinery import SourceFileLoader

    found: dict[str, Any] = {}
    path_stats = SourceFileLoader.path_stats

    def noting(loader: Any, path: Any) -> Any:
        found[path] = _fingerprint(path)
        return path_stats(loader, path)

    SourceFileLoader.path_stats = noting  # type: ignore[method-assign, assignment]
    return found


def _standing() -> tuple[Any, ...]:
    """Return what a call changes for life, if it does: users, groups, niceness, root directory, limits."""
    top = os.stat("/")  # noqa: PTH116
    who = os.getresuid(), os.getresgid(), os.getgroups(), os.getpriority(os.PRIO_PROCESS, 0)
    return (*who, top.st_dev, top.st_ino, *map(resource.getrlimit, _LIMITS))


def _own(path: str, flags: int) -> Any:
    """Open a file under a number out of the way of calls; None: it is not there."""
    with suppress(OSError):
        return _moved(os.open(path, flags))
    return None


def _c_flush() -> Callable[[], Any]:
    """Return what flushes the streams of C code."""
    try:
        import ctypes

        flush = ctypes.CDLL(None).fflush
    except (ImportError, OSError, AttributeError):
        return lambda: None
    return lambda: flush(None)


async def _awaited(value: Any) -> Any:
    return await value


def _moved(fd: int) -> int:
    """Move a descriptor out of the way of calls; programs that they start do not have it."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OWN_FDS)
    os.close(fd)
    return moved


def _die_with(lifeline: int) -> None:
    """Have the kernel kill our process group when the other end of a pipe is closed: the executor is gone."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, 10, signal.SIGKILL)  # F_SETSIG
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def _let_children_be(line: Any) -> None:
    """Have what calls fork be processes of their own: they do not answer, and end by signals like others."""
    masks: list[Any] = []

    def before() -> None:
        # A signal that comes before the child has let go of our handlers would be forgotten.
        masks.append(_signal.pthread_sigmask(_signal.SIG_BLOCK, _ASKING))

    def in_child() -> None:
        line.close()
        with suppress(ValueError):  # not the main thread, in an odd interpreter
            for number in _ASKING:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        in_parent()

    def in_parent() -> None:
        if masks:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, masks.pop())

    os.register_at_fork(before=before, after_in_child=in_child, after_in_parent=in_parent)


def start(jobs: Any, ends: Any, wire: Any, path: list[str]) -> NoReturn:
    """Serve on descriptor 0, with the lifeline as 1; the rest but `path` are modules of ours."""
    line, lifeline, null = wire.Line(_moved(0)), _moved(1), os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        if number != null:
            os.dup2(null, number)
    _die_with(lifeline)
    _let_children_be(line)
    if "" in sys.path:
        sys.path.remove("")
    sys.path[:0] = path
    line.send({"type": "hello", "version": "%d.%d.%d" % sys.version_info[:3]})  # noqa: UP031
    Worker(line, jobs, ends).serve()
    # Let go before the executor does: what calls have left running goes on.
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_NONBLOCK)
    sys.exit(0)
