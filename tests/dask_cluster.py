"""A Dask cluster of the tests' own: certificates, a scheduler and workers, each a process of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from process_table import with_arguments
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_QUIET = ("--no-dashboard",)


def why_not() -> str:
    """Return why there cannot be one; "" if there can."""
    if importlib.util.find_spec("distributed") is None:
        return "distributed is not installed"
    return "" if shutil.which("openssl") else "openssl is not installed"


def make_certificates(directory: Path, *, name: str = "cluster") -> dict[str, str]:
    """Make an authority and one certificate of it, as docs/dask.md has it; return `tls` of an executor."""
    page = (Path(__file__).parents[1] / "docs" / "dask.md").read_text("utf-8")
    commands = page.partition("```sh\n")[2].partition("```")[0]
    place = directory / name
    place.mkdir()
    subprocess.run(["sh", "-ec", commands], cwd=place, check=True, capture_output=True)
    return {what: str(place / f"{what}.pem") for what in ("ca", "cert", "key")}


class DaskCluster:
    """A scheduler, and workers of this machine. Sockets of keepers are in `directory`."""

    def __init__(
        self, directory: Path, *, tls: dict[str, str] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.directory = directory
        self.host = host
        self.tls = tls
        self.address = f"{'tls' if tls else 'tcp'}://{host}:0"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "tmp").mkdir(exist_ok=True)
        self.start_scheduler()

    @property
    def settings(self) -> dict[str, Any]:
        """Return what an executor needs to know."""
        return {"address": self.address, **({"tls": self.tls} if self.tls else {"insecure": True})}

    @property
    def table(self) -> str:
        """Return the keys of `[executors.NAME]`."""
        if self.tls is None:
            return f'type = "dask"\naddress = "{self.address}"\ninsecure = true\n'
        tls = ", ".join(f'{name} = "{path}"' for name, path in self.tls.items())
        return f'type = "dask"\naddress = "{self.address}"\ntls = {{ {tls} }}\n'

    def start_scheduler(self) -> None:
        """Start the scheduler: anywhere, and later where it was before."""
        protocol, _, place = self.address.partition("://")
        said = self._mark("scheduler", r"Scheduler at: +(\S+)")
        self.scheduler = self._start(
            "scheduler", "dask_scheduler", "--host", self.host, "--port", place.partition(":")[2],
            "--protocol", protocol,
        )  # fmt: skip
        self.address = wait_until(said, what="the Dask scheduler listens", timeout_s=60)

    def _mark(self, name: str, pattern: str) -> Callable[[], str]:
        """Return what finds a pattern in what is logged from now on."""
        log = self.directory / f"{name}.log"
        begin = log.stat().st_size if log.exists() else 0

        def find() -> str:
            found = re.search(pattern, log.read_bytes()[begin:].decode("utf-8", "replace"))
            return found[1] if found else ""

        return find

    def start_worker(
        self, name: str, *words: str, threads: int = 2, prefix: Sequence[str] = (), **environ: str
    ) -> None:
        """Start a worker, and wait until it has joined; `prefix` is what starts it."""
        joined = self._mark(name, r"(Registered to)")
        self.workers[name] = self._start(
            name, "dask_worker", self.address, "--name", name, "--nthreads", str(threads), "--no-nanny",
            "--local-directory", str(self.directory), *words, prefix=prefix, **environ,
        )  # fmt: skip
        wait_until(joined, what=f"worker {name} has joined", timeout_s=60)

    def _start(
        self, name: str, module: str, *words: str, prefix: Sequence[str] = (), **environ: str
    ) -> subprocess.Popen[bytes]:
        options = {"ca": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}
        tls = [word for what, path in (self.tls or {}).items() for word in (options[what], path)]
        argv = [*prefix, sys.executable, "-m", f"distributed.cli.{module}", *words, *tls, *_QUIET]
        environ = {**os.environ, "TMPDIR": str(self.directory / "tmp"), **environ}
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                argv, cwd=self.directory, env=environ,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def keepers(self) -> list[int]:
        """Return the processes of keepers."""
        return with_arguments(b"taskman_cli.executors.keeper", os.fsencode(self.directory / "tmp"))

    def kill_worker(self, name: str) -> None:
        """Kill a worker; its keeper goes on."""
        process = self.workers.pop(name)
        process.kill()
        process.wait()

    def kill_scheduler(self) -> None:
        """Kill the scheduler: its workers end by themselves."""
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = None

    def stop(self) -> None:
        """End all processes."""
        for name in [*self.workers]:
            self.kill_worker(name)
        if self.scheduler is not None:
            self.kill_scheduler()
        for pid in self.keepers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not self.keepers(), what="the keepers have ended", timeout_s=30)
