"""How the interpreter of a worker is started, and the program that it reads, as none is installed there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.executors.program import Launch
from taskman_cli.launch.barepython import program_of

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


#: What a worker needs of ours.
_MODULES = {
    "worker": "taskman_cli.executors.pyworker",
    "ends": "taskman_cli.executors.pyends",
    "place": "taskman_cli.executors.pyplace",
    "wire": "taskman_cli.executors.pywire",
}


def start_text(path: list[str]) -> bytes:
    """Return the program that a new interpreter reads from descriptor 0: length, modules, and the start."""
    text = program_of(_MODULES, f"worker.start(jobs,ends,place,wire,{path!r})")
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
