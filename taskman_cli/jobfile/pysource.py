"""A job file in Python: its functions marked with `@job` become jobs that call them.

The file is imported in a child process with its own interpreter (`pydefining`), which is killed if it takes
too long; nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from taskman_cli.core.escapes import printable
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, TreePath, dotted
from taskman_cli.jobfile.source import MAX_BYTES, LineIndex, NotTrusted, Source
from taskman_cli.launch.barepython import program_of
from taskman_cli.trust import Trust, Untrusted

#: How long an import may take; less than a job file in all.
IMPORT_LIMIT_S = 20.0
_MOST_SAID_BYTES = 8192
_CHUNK_BYTES = 1 << 16
_MOST_WORDS = 300
_SHEBANG = re.compile(rb"#!\s*(/[^\s\0]*)(?:[ \t]+([^\s\0-][^\s\0]*))?[ \t]*\r?\n")

#: A line, a column and a length, from 1.
_Place = tuple[int, int, int]

_BOOTSTRAP = (
    "import fcntl,os,sys\n"
    # Whatever the file starts ends with the process that has it read: the kernel sees to it (F_SETSIG is 10).
    "life=int(sys.argv.pop())\n"
    "fcntl.fcntl(life,fcntl.F_SETOWN,-os.getpgrp())\n"
    "fcntl.fcntl(life,10,9)\n"
    "fcntl.fcntl(life,fcntl.F_SETFL,fcntl.fcntl(life,fcntl.F_GETFL)|os.O_ASYNC)\n"
    "result=os.dup(1)\n"
    "os.dup2(2,1)\n"
    "text,data=sys.stdin.buffer.read().split(b'\\0',1)\n"
    "os.dup2(os.open(os.devnull,os.O_RDONLY),0)\n"
    "exec(compile(text,'<taskman>','exec'),{'__name__':'taskman_start','data':data,'result':result})"
)


@dataclass(frozen=True)
class PythonSource(Source):
    """The text of a job file in Python, and the tables of an equivalent one in TOML."""

    #: Where things stand that a call of the file says: by their paths in the tables.
    places: Mapping[TreePath, _Place] = field(default_factory=dict)
    #: The files that it has imported, but those of packages and of the interpreter.
    imported: tuple[Path, ...] = ()

    @cached_property
    def _places(self) -> LineIndex:
        return LineIndex(str(self.path), self.text)

    def problem(self, fault: Fault) -> Problem:
        """Return the problem for a fault, at the nearest place that is known."""
        line, column, length = self.places.get(self.known(fault.path)[0], (1, 1, 1))
        found = self.place(line, column, length, fault.message)
        return found if fault.path[:1] == ("line",) else replace(found, key=dotted(fault.path))

    def known(self, path: TreePath) -> tuple[TreePath, bool]:
        """Return as much of a path as has a place."""
        while path and path not in self.places:
            path = path[:-1]
        return path, False

    def place(self, line: int, column: int, length: int, message: str) -> Problem:
        """Return the problem for some characters of a line."""
        lines = self.text.split("\n")
        line = min(max(1, line), len(lines))
        start = self._places.offset(line, min(max(1, column), len(lines[line - 1]) + 1))
        return self._places.problem(start, start + length, message=message)


def read_python(path: Path, data: bytes, trust: Trust) -> PythonSource:
    """Return a job file in Python as a source; `data` is what it contains.

    Raises JobFileError if it cannot be imported, or not by whom `trust` allows.
    """
    # Names of files need not be UTF-8; an error is shown as far as it can be.
    source = PythonSource(path.absolute(), data.decode("utf-8", "replace").replace("\r\n", "\n"), {})
    interpreter = interpreter_of(data)
    _check(source, interpreter, trust)
    told = _told(source, interpreter, data)
    if "error" in told:
        column = told.get("column")
        line, words = _number(told.get("line")), printable(str(told["error"]))[:_MOST_WORDS]
        raise JobFileError([source.place(line, _number(column), 1, f"cannot be imported: {words}")])
    return _filled(source, interpreter, told)


def interpreter_of(data: bytes) -> str:
    """Return the interpreter that a file names in its first line, or else our own."""
    match = _SHEBANG.match(data)
    if match is None:
        return sys.executable
    program, argument = os.fsdecode(match[1]), os.fsdecode(match[2] or b"")
    if os.path.basename(program) == "env" and argument:  # noqa: PTH119
        program = shutil.which(argument) or argument
    is_python = os.path.basename(program).startswith(("python", "pypy"))  # noqa: PTH119
    return program if is_python else sys.executable


def _check(source: PythonSource, interpreter: str, trust: Trust) -> None:
    """Raise JobFileError if others could change what root would import, beyond the file itself."""
    if not trust.is_checked:
        return
    try:
        trust.check(interpreter)
        # Where it looks for what the file imports.
        os.close(trust.open_to_list(source.path.parent))
    except Untrusted as error:
        raise NotTrusted(source.path, error) from None
    except OSError as error:
        words = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise JobFileError([Problem(str(source.path), 1, 1, "", words)]) from None


def _told(source: PythonSource, interpreter: str, data: bytes) -> dict[str, Any]:
    """Have the file imported, and return what that process has said of it."""
    text = program_of(
        {"defining": "taskman_cli.jobfile.pydefining"},
        f"defining.define({os.fspath(source.path)!r},data,jobs,result)",
    )
    given = text.encode("utf-8", "surrogateescape") + b"\0" + data
    life_read, life_write = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            [interpreter, "-c", _BOOTSTRAP, str(life_read)],
            pass_fds=(life_read,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        words = f"its interpreter {interpreter} cannot be run: {reason}"
        os.close(life_write)
        raise JobFileError([source.place(1, 1, 1, words)]) from None
    finally:
        os.close(life_read)
    with process:
        try:
            result, said, trouble = _converse(process, given)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            os.close(life_write)
        code = process.wait()
    with suppress(ValueError, RecursionError):
        told = json.loads(result)
        if not trouble and isinstance(told, dict):
            return told
    lines = [line.strip() for line in said.decode("utf-8", "replace").split("\n")]
    last = next((line for line in reversed(lines) if line), "")
    how = trouble or (f"the interpreter ended with exit {code}" if code >= 0 else f"killed by signal {-code}")
    return {"error": f"{how}: {last}" if last else how, "line": 1}


def _converse(process: subprocess.Popen[bytes], given: bytes) -> tuple[bytes, bytes, str]:
    """Return the result, the end of what the file has printed, and what went wrong, "" for nothing."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    deadline_s = time.monotonic() + IMPORT_LIMIT_S  # noqa: TID251 - how long another may take
    rest, result, said = memoryview(given), b"", b""
    pidfd = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            selector.register(pidfd, selectors.EVENT_READ)
            while True:
                left_s = deadline_s - time.monotonic()  # noqa: TID251
                if left_s <= 0:
                    return result, said, f"it took more than {IMPORT_LIMIT_S:g} s"
                ready = {key.fileobj for key, _ in selector.select(left_s)}
                if process.stdin in ready:
                    rest = _written(process.stdin.fileno(), rest)
                    if not rest:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                if process.stdout in ready:
                    piece = os.read(process.stdout.fileno(), _CHUNK_BYTES)
                    result += piece
                    if len(result) > MAX_BYTES:
                        return b"", said, f"its definitions are larger than {MAX_BYTES >> 20} MiB"
                    if not piece:
                        selector.unregister(process.stdout)
                if process.stderr in ready:
                    piece = os.read(process.stderr.fileno(), _CHUNK_BYTES)
                    said = (said + piece)[-_MOST_SAID_BYTES:]
                    if not piece:
                        selector.unregister(process.stderr)
                if ready == {pidfd}:  # all that it has written itself is read
                    return result, said, ""
    finally:
        os.close(pidfd)
        with suppress(OSError):
            process.stdin.close()


def _written(fd: int, rest: memoryview) -> memoryview:
    try:
        return rest[os.write(fd, rest[:_CHUNK_BYTES]) :]
    except BlockingIOError:
        return rest
    except OSError:  # it does not want to know
        return rest[:0]


def _filled(source: PythonSource, interpreter: str, told: dict[str, Any]) -> PythonSource:
    """Return the source with the tables that its calls amount to."""
    tables: dict[str, Any] = {}
    places: dict[TreePath, _Place] = {}
    faults: list[Fault] = []
    executor = "python-" + (re.sub(r"[^A-Za-z0-9_-]", "-", source.path.stem)[:50] or "jobs")
    own = {"type": "python", "python": interpreter, "path": [str(source.path.parent)]}
    for item in told.get("said") or ():
        keys = dict(item["keys"])
        if item["what"] == "executor":
            executor = str(keys.pop("name", executor))
            own |= keys
            path: TreePath = ("executors", executor)
        elif item["what"] == "defaults":
            tables["defaults"] = tables.get("defaults", {}) | keys
            path = ("defaults",)
        else:
            name = str(keys.pop("name", "") or item["function"].strip("_").replace("_", "-"))
            path = ("jobs", name)
            jobs = tables.setdefault("jobs", {})
            if name in jobs:
                words = f"a job of this name is defined in line {places[path][0]}: set another name"
                faults.append(Fault(("line", item["line"]), f"{name}: {words}"))
                places["line", item["line"]] = (item["line"], 1, 1)
                continue
            about = {"description": item["about"]} if item["about"].isprintable() and item["about"] else {}
            jobs[name] = about | {"call": item["call"]} | keys
        places[path] = (item["line"], 1, 1)
        for key, (line, column, length) in item["places"].items():
            places[(*path, key)] = (line, column, length)
        faults += [Fault((*path, *at), words) for at, words in item["faults"]]
    for job in tables.get("jobs", {}).values():
        job.setdefault("executor", executor)
    if tables.get("jobs"):
        tables["executors"] = {executor: own}
        places.setdefault(("executors", executor), (1, 1, 1))
    imported = tuple(Path(name) for name in told.get("imported") or ())
    return replace(source, tables=tables, places=places, faults=tuple(faults), imported=imported)


def _number(value: object) -> int:
    return value if type(value) is int and value > 0 else 1
