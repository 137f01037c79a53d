"""How the interpreter of a worker is started, and the program that it reads, as none is installed there."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from taskman_cli.executors.program import Launch

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        f"places=module('taskman_place',{module_text('taskman_cli.executors.pyplace')!r})\n"
        f"wire=module('taskman_wire',{module_text('taskman_cli.executors.pywire')!r})\n"
        f"worker.start(jobs,ends,places,wire,{path!r})\n"
    )
    data = text.encode("utf-8", "surrogateescape")
    return b"%08d" % len(data) + data


def launch_of(
    python: str,
    env: Mapping[str, str],
    *,
    user: tuple[int, int, tuple[int, ...]] | None = None,
    nice: int = 0,
) -> Launch:
    """Return how an interpreter is started, which then waits for its program."""
    return Launch(argv=(python, "-c", _BOOTSTRAP), env=env, user=user, nice=nice)
