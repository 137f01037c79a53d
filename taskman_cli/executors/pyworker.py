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
import json
import marshal
import os
import resource
import signal
import struct
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn  # noqa: UP035 - for Python 3.8

_MOST_WORDS = 1000
#: Calls of one job that are there together are looked at once in this time: whether a file has changed that
#: was imported, and whether the process is still what it was.
_LOOK_S = 0.001
#: The shortest time between two reports of progress.
_PROGRESS_GAP_S = 0.1
#: These ask a call to end.
_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: A call may lower these, but not always raise them again.
_LIMITS = (
    resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK,
    resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE,
)  # fmt: skip
#: How a call ended: whether this was the worker's last, exit code, signal, microseconds in the function,
#: processor time in microseconds, peak and size of the memory in bytes, length of the error in words. That
#: and what the function has returned come behind it.
_DONE = struct.Struct("!?BBIQQQI")


class Worker:
    """Calls functions for one executor."""

    def __init__(self, line: Any, jobs: Any, ends: Any, places: Any) -> None:
        self._line = line
        self._ends = ends
        self._jobs = jobs
        self._pid = os.getpid()
        self._told_at_s = 0.0
        #: That of the call that is made; 0: there is none.
        self._number = 0
        self._was_asked = False  # a signal came while there was none: maybe for the next call
        self._children_s = 0.0  # the processor time of children that have ended
        #: What the last call said that is the same in many.
        self._plan: tuple[Any, ...] = ()
        #: Files of modules that calls have imported, each with its fingerprint.
        self._seen: dict[str, Any] = {}
        #: As they were when they were read, which may be long before the call ends.
        self._read = _note_reads()
        self._known = set(sys.modules)
        #: What is looked at now and then is looked at with this call; and when it is to be again.
        self._is_looked_at = True
        #: What the calls before it have changed for life was not looked at.
        self._is_unsure = False
        self._look_again_s = 0.0
        self._files: dict[str, Any] = {}
        #: A call, where its function is, and by which names.
        self._parsed: tuple[str, str, list[str]] = ("", "", [])
        self._standing = _standing()
        null = line.open(os.devnull, os.O_RDWR)
        self._place = places.Place(null, _ASKING, self._asked_to_end)
        self._peaks = line.open("/proc/self/clear_refs", os.O_WRONLY)
        self._sizes = line.open("/proc/self/statm", os.O_RDONLY)

    def serve(self) -> None:
        """Carry out calls until there are no more, or another one would not find what it has a right to."""
        with suppress(EOFError):
            while True:
                number, call, fds = self._line.next_call()
                if call is None or (self._is_due(is_other=call[0] is not None) and self._is_stale()):
                    self._line.answer(b"s", number, b"")
                    break
                if not self._call(number, call, *fds):
                    break
            while True:  # the executor is to know first
                self._line.rest()

    def _is_due(self, *, is_other: bool) -> bool:
        """Tell if a call is to be looked at; `is_other`: it is not of the job that the last one was of."""
        line, now_s, was_looked_at = self._line, time.perf_counter(), self._is_looked_at
        self._is_looked_at = line.has_rested or is_other or now_s >= self._look_again_s
        if self._is_looked_at:
            line.has_rested, self._look_again_s = False, now_s + _LOOK_S
            self._is_unsure = not was_looked_at
        return self._is_looked_at

    def _is_stale(self) -> bool:
        """Tell if a file that was imported has changed since, or a call not looked at changed us."""
        if self._is_unsure and _standing() != self._standing:
            return True
        for path, seen in self._seen.items():  # noqa: SIM110 - at each call
            if _fingerprint(path) != seen:
                return True
        return False

    def _call(self, number: int, call: tuple[Any, ...], output: int, given: int | None = None) -> bool:
        """Make a call and say how it ended; return False if it was the last one."""
        text, job, task, run, attempt, deadline_ns, added = call
        if text is not None:
            self._plan = marshal.loads(text)  # noqa: S302 - of the executor
        plan = self._plan
        try:
            self._place.prepare(plan, added, output, given)
        except (OSError, ValueError) as error:
            self._place.let_go()
            self._line.answer(b"r", number, str(error).encode("utf-8", "backslashreplace"))
            return True
        told: Any = {"job": job, "task": task, "run": run, "attempt": attempt, "deadline_ns": deadline_ns}
        told["parameters"] = parameters = plan[6]
        for name in added:
            if name[:8] != "TASKMAN_":
                if parameters is plan[6]:
                    told["parameters"] = parameters = dict(parameters)
                parameters[name] = added[name]
        self._jobs._current = self._jobs.Context(told, self._progress)
        try:  # noqa: SIM105 - at each call
            os.write(self._peaks, b"5")  # the peak of memory counts from here
        except (OSError, TypeError):  # it is not there, or a call has closed it
            pass
        before_s = time.process_time()
        told = None
        try:
            self._number = number
            # A signal for this call may have come before it could be told that it was for this one.
            if self._was_asked and self._line.is_cancelled(number):
                self._asked_to_end(signal.SIGTERM, None)
            self._was_asked = False
            told = self._outcome(plan)
            self._number = 0
        except BaseException as error:  # asked to end before or after the call itself
            self._number = 0
            told = told or self._ends.failure(error, self._jobs.Cancelled)
        if os.getpid() != self._pid:
            # The call has forked, and this is the child: not the one that answers.
            self._place.flush()
            os._exit(told.get("status", 1))
        self._jobs._current = None
        is_last = True
        try:
            self._place.flush()
            self._note_imports()
            self._place.let_go()
            is_last = self._is_looked_at and _standing() != self._standing
        except BaseException:  # noqa: S110 - what a call has broken ends its worker, and not the call
            pass
        self._line.answer(b"d", number, self._done(told, before_s, is_last=is_last))
        return not is_last

    def _outcome(self, plan: tuple[Any, ...]) -> dict[str, Any]:
        """Call the function; return how that ended, for the executor."""
        began_s = time.perf_counter()
        try:
            try:
                args, kwargs = json.loads(plan[1]) if plan[1] else ((), {})
                value = self._resolve(plan[0])(*args, **kwargs)
                if hasattr(value, "__await__"):
                    import asyncio

                    value = asyncio.run(_awaited(value))
            finally:
                self._place.take_back()
            took_s = time.perf_counter() - began_s
            return {"status": 0, "value": self._ends.as_json(value), "took_s": took_s}
        except BaseException as error:
            return self._ends.failure(error, self._jobs.Cancelled)  # type: ignore[no-any-return]

    def _done(self, told: dict[str, Any], before_s: float, *, is_last: bool) -> bytes:
        """Return how a call ended and what it has used: its processor time has that of ended children."""
        ended, known_s = resource.getrusage(resource.RUSAGE_CHILDREN), self._children_s
        self._children_s = ended.ru_utime + ended.ru_stime
        cpu_s = time.process_time() - before_s + self._children_s - known_s
        error, value = told.get("error"), told.get("value")
        error = error.encode("utf-8", "backslashreplace") if error else b""
        head = _DONE.pack(
            is_last,
            told.get("status", 0),
            told.get("signal", 0),
            min(int(told.get("took_s", 1) * 1e6), (1 << 32) - 1),
            max(0, int(cpu_s * 1e6)),
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
            self._resident_bytes() if self._plan[5] else 0,
            len(error),
        )
        return b"".join((head, error, value.encode("utf-8", "backslashreplace") if value else b""))

    def _resident_bytes(self) -> int:
        with suppress(OSError, TypeError):
            return int(os.pread(self._sizes, 100, 0).split()[1]) * resource.getpagesize()
        return 0

    def _resolve(self, call: str) -> Callable[..., Any]:
        """Find `package.module:function`, or `/path/file.py:function`."""
        if call != self._parsed[0]:
            where, _, name = call.rpartition(":")
            self._parsed = call, where, name.split(".")
        _, where, names = self._parsed
        found = self._file(where) if where.endswith(".py") else importlib.import_module(where)
        for name in names:
            found = getattr(found, name)
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

    def _note_imports(self) -> None:
        """Fingerprint the files of new modules, except those of the interpreter and of packages."""
        if len(sys.modules) == len(self._known):
            return
        for name in set(sys.modules) - self._known:
            path = None
            with suppress(Exception):  # one that imports when it is asked, and cannot
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
            news = {"number": self._number, "part": part, "words": words[:_MOST_WORDS]}
            self._line.tell(news)

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


def _fingerprint(path: str) -> Any:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


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
    """Return what a call may change for life: users, groups, niceness, CPUs, root directory, limits."""
    top = os.stat("/")  # noqa: PTH116
    who = (
        os.getresuid(),
        os.getresgid(),
        os.getgroups(),
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getaffinity(0),
    )
    return (*who, top.st_dev, top.st_ino, *map(resource.getrlimit, _LIMITS))


async def _awaited(value: Any) -> Any:
    return await value


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


def start(jobs: Any, ends: Any, places: Any, wire: Any, path: list[str]) -> NoReturn:
    """Serve on descriptor 0, with the lifeline as 1; the rest but `path` are modules of ours."""
    line, lifeline, null = wire.Line(wire.moved(0)), wire.moved(1), os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        if number != null:
            os.dup2(null, number)
    _die_with(lifeline)
    _let_children_be(line)
    if "" in sys.path:
        sys.path.remove("")
    sys.path[:0] = path
    line.tell({"version": "%d.%d.%d" % sys.version_info[:3]})  # noqa: UP031
    Worker(line, jobs, ends, places).serve()
    # Let go before the executor does: what calls have left running goes on.
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_NONBLOCK)
    sys.exit(0)
