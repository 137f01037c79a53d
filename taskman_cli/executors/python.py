"""Type "python": calls of functions, in warm workers of the job's own interpreter.

A worker (`pyworker`) belongs to one user, niceness and start-up environment. It has one call at a time, and
is replaced after `max_calls` calls, when it has grown beyond `max_memory`, when a file that it has imported
has changed, and whenever a call has broken it.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import Executor, Finding, Result, StartFailed
from taskman_cli.executors.program import Launch
from taskman_cli.executors.pyhost import Worker
from taskman_cli.trust import Untrusted, standing_trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Work

_SECOND_NS = 1_000_000_000
#: How often a call is given to another worker, because the first one was stale or had just died.
_MOST_TRIES = 3
#: Variables that an interpreter reads when it starts: a worker has them for life.
_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_")

_BOOTSTRAP = (
    "import os\n"
    "def take(n):\n"
    " b=b''\n"
    " while len(b)<n:\n"
    "  d=os.read(0,n-len(b))\n"
    "  if not d: os._exit(1)\n"
    "  b+=d\n"
    " return b\n"
    "exec(compile(take(int(take(8))),'<taskman>','exec'),{'__name__':'taskman_start','__file__':'<taskman>'})"
)

Key = tuple[object, ...]


def module_text(name: str) -> str:
    """Return the source of one of our modules, for an interpreter that does not have it."""
    package, _, stem = name.rpartition(".")
    return files(package).joinpath(f"{stem}.py").read_text("utf-8")


def start_text(path: list[str]) -> bytes:
    """Return the program that a new interpreter reads from descriptor 0: length, modules, and the start."""
    text = (
        "import sys,types\n"
        "def module(name,text):\n"
        " made=types.ModuleType(name)\n"
        " made.__file__='<taskman>'\n"
        " exec(compile(text,'<taskman>','exec'),made.__dict__)\n"
        " return made\n"
        f"jobs=module('taskman_cli.jobs',{module_text('taskman_cli.jobs')!r})\n"
        "try:\n"
        " import taskman_cli\n"
        "except ImportError:\n"
        " sys.modules['taskman_cli']=types.ModuleType('taskman_cli')\n"
        " sys.modules['taskman_cli'].__path__=[]\n"
        "sys.modules['taskman_cli'].jobs=sys.modules['taskman_cli.jobs']=jobs\n"
        f"worker=module('taskman_worker',{module_text('taskman_cli.executors.pyworker')!r})\n"
        f"ends=module('taskman_ends',{module_text('taskman_cli.executors.pyends')!r})\n"
        f"wire=module('taskman_wire',{module_text('taskman_cli.executors.pywire')!r})\n"
        f"worker.start(jobs,ends,wire,{path!r})\n"
    )
    data = text.encode("utf-8", "surrogateescape")
    return b"%08d" % len(data) + data


class PythonExecutor(Executor):
    """Keeps workers, and gives them calls."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the settings that `jobfile.executortypes.python` has read."""
        self._python: str = settings.get("python") or sys.executable
        self._path = [*settings.get("path", ())]
        self._max_calls: int = settings.get("max_calls", 1000)
        self._max_memory_bytes: int | None = settings.get("max_memory_bytes")
        self._idle_s: float = settings.get("idle_timeout_ns", 300 * _SECOND_NS) / _SECOND_NS
        self._text = start_text(self._path)
        self._cwd = _own_directory()
        self._umask = _own_umask()
        self._idle: dict[Key, list[Worker]] = {}
        self._all: set[Worker] = set()
        self._busy: dict[Work, Worker] = {}

    async def run(self, work: Work) -> Result:
        """Have a worker make the call."""
        order = work.order
        if not isinstance(order.keys.get("call"), str):
            raise StartFailed('there is no call: set call = "package.module:function"')
        key = _key_of(order)
        for _ in range(_MOST_TRIES):
            worker = self._warm(key) or await self._started(key, order)
            self._busy[work] = worker
            try:
                result = await worker.call(work, self._frame(order))
            except BaseException:
                worker.kill()
                raise
            finally:
                del self._busy[work]
                self._put_back(worker)
            if result is not None:
                return result
        return Result(error="a file that the call imports changed each time before it began")

    async def signal(self, work: Work, number: int) -> None:
        """Send a signal to a worker that makes a call, and to all that the call has started."""
        worker = self._busy.get(work)
        if worker is not None:
            worker.signal(number)

    async def check(self) -> tuple[Finding, ...]:
        """Tell if the interpreter starts, and its version."""
        try:
            # What only another user's jobs use need not be safe to start as root.
            standing_trust(os.environ).check(self._python)
        except Untrusted as error:
            words = f"{printable(self._python)} is not started as root to find its version: {error}"
            return (Finding(is_good=True, words=words),)
        try:
            worker = self._kept(
                await Worker.start(self._python, self._text, _launch(self._python, os.environ))
            )
        except StartFailed as error:
            advice = "set python to the path of an interpreter of version 3.8 or later"
            return (Finding(is_good=False, words=str(error), advice=advice),)
        worker.retire()
        return (Finding(is_good=True, words=f"{self._python} is Python {worker.version}"),)

    async def close(self) -> None:
        """Kill all workers."""
        workers = [*self._all]
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.program.end()

    def _frame(self, order: Order) -> dict[str, Any]:
        given = {name: text for name, text in order.env.items() if not name.startswith("TASKMAN_")}
        return {
            "type": "call",
            "call": order.keys["call"],
            "args": list(order.keys.get("args", ())),
            "kwargs": dict(order.keys.get("kwargs", {})),
            "cwd": order.cwd or self._cwd,
            "umask": self._umask if order.umask is None else order.umask,
            "context": {
                "job": order.job,
                "task": order.task,
                "run": order.run,
                "attempt": order.attempt,
                "parameters": given,
                "deadline_ns": order.deadline_ns,
            },
        }

    def _warm(self, key: Key) -> Worker | None:
        workers = self._idle.get(key)
        while workers:
            worker = workers.pop()
            if worker.wake():
                return worker
        return None

    async def _started(self, key: Key, order: Order) -> Worker:
        launch = _launch(self._python, order.local_env, user=order.user, nice=order.nice)
        worker = self._kept(await Worker.start(self._python, self._text, launch))
        worker.key = key
        return worker

    def _kept(self, worker: Worker) -> Worker:
        """Note a worker until it has ended."""
        self._all.add(worker)
        worker.program.ended.add_done_callback(lambda _: self._drop(worker))
        return worker

    def _put_back(self, worker: Worker) -> None:
        """Keep a worker for the next call, unless it has done its share."""
        if not worker.is_sound:
            return
        is_large = self._max_memory_bytes is not None and worker.rss_bytes > self._max_memory_bytes
        if is_large or worker.calls >= self._max_calls:
            worker.retire()
            return
        self._idle.setdefault(worker.key, []).append(worker)
        worker.rest(self._idle_s)

    def _drop(self, worker: Worker) -> None:
        self._all.discard(worker)
        resting = self._idle.get(worker.key, [])
        if worker in resting:
            resting.remove(worker)
        if not resting:
            self._idle.pop(worker.key, None)


def _launch(
    python: str,
    env: Mapping[str, str],
    *,
    user: tuple[int, int, tuple[int, ...]] | None = None,
    nice: int = 0,
) -> Launch:
    return Launch(argv=(python, "-c", _BOOTSTRAP), env=env, user=user, nice=nice)


def _key_of(order: Order) -> Key:
    """Return what a worker has for life: calls that differ in it have different workers."""
    env = order.local_env
    return order.user, order.nice, *[(name, env[name]) for name in _read_at_start(tuple(env))]


@lru_cache(maxsize=64)
def _read_at_start(names: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if name.startswith(_AT_START))


def _own_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - as it is
    except FileNotFoundError:
        return "/"


def _own_umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def make(definition: ExecutorDefinition, _around: object = None) -> PythonExecutor:
    """Make an executor of its definition."""
    return PythonExecutor(dict(definition.settings))
