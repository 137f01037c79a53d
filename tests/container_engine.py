"""A docker daemon or a podman of the tests' own, in its own directories, with an image of busybox alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from process_table import arguments, with_arguments
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMAGE = "taskman-test-box"


@cache
def why_not() -> str:
    """Return why a daemon cannot be had here; "": it can."""
    if os.geteuid() != 0:
        return "dockerd needs root"
    missing = [
        name for name in ("dockerd", "docker", "containerd", "runc", "busybox") if not shutil.which(name)
    ]
    return f"not installed: {', '.join(missing)}" if missing else ""


@cache
def why_no_podman() -> str:
    """Return why podman cannot be had here; "": it can."""
    if os.geteuid() != 0:
        return "the tests of podman are root's"
    missing = [
        name for name in ("podman", "conmon", "runc", "catatonit", "busybox") if not shutil.which(name)
    ]
    if not Path("/usr/libexec/podman/catatonit").exists() and "catatonit" in missing:
        return f"not installed: {', '.join(missing)}"
    missing = [name for name in missing if name != "catatonit"]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Engine:
    """An engine with the image."""

    #: What an executor needs to use it, beside `environ`.
    settings: Mapping[str, Any] = MappingProxyType({})
    environ: Mapping[str, str] = MappingProxyType({})

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def argv(self) -> list[str]:
        raise NotImplementedError

    def run(self, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self.argv(), *words], input=data, capture_output=True)

    def make_image(self) -> None:
        root = self.directory / "root"
        (root / "bin").mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox
        shutil.copy(busybox, root / "bin/busybox")
        for name in ("sh", "cat", "echo", "env", "head", "id", "pwd", "sleep", "tail", "tr", "true"):
            (root / "bin" / name).symlink_to("busybox")
        packed = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True).stdout
        made = self.run("import", "-", IMAGE, data=packed)
        assert made.returncode == 0, made.stderr

    def containers(self) -> list[str]:
        return self.run("ps", "--all", "--quiet").stdout.decode().split()

    def keepers(self) -> list[int]:
        """Return the processes that keep a container, and that the engine may have forgotten."""
        return []

    def remove_all(self) -> None:
        for container in self.containers():
            self.run("rm", "--force", container)


class Podman(Engine):
    """podman, which needs no daemon."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        places = ["--root", f"{directory}/p", "--runroot", f"{directory}/r", "--tmpdir", f"{directory}/t"]
        # This may be a container itself: no limits beyond its own.
        own = [*places, "--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        limits = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"]
        self.settings = {"engine": "podman", "engine_options": own, "options": limits}

    def argv(self) -> list[str]:
        return ["podman", *self.settings["engine_options"]]

    def keepers(self) -> list[int]:
        # Not what talks of one, as a grep does.
        found = with_arguments(b"/usr/bin/conmon\0", os.fsencode(self.directory))
        return [pid for pid in found if arguments(pid)[:1] == [b"/usr/bin/conmon"]]


class Daemon(Engine):
    """A running dockerd."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.host = f"unix://{directory}/s"
        self.environ = {"DOCKER_HOST": self.host}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.directory / "pid").unlink(missing_ok=True)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "dockerd", "--data-root", self.directory / "data", "--exec-root", self.directory / "exec",
                    "--pidfile", self.directory / "pid", "-H", self.host, "--storage-driver", "vfs",
                    "--bridge=none", "--iptables=false", "--live-restore",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: self.run("version").returncode == 0, what="dockerd answers")

    def argv(self) -> list[str]:
        return ["docker", "--host", self.host]

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.remove_all()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None


@contextmanager
def dockerd() -> Iterator[Daemon]:
    """Give a daemon with the image, and end it."""
    directory = Path(tempfile.mkdtemp(prefix="taskman-dockerd-"))  # its sockets need short paths
    daemon = Daemon(directory)
    try:
        daemon.start()
        daemon.make_image()
        yield daemon
    finally:
        daemon.stop()
        # With --live-restore, it leaves this mounted on itself.
        subprocess.run(["umount", directory / "data"], capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def podman() -> Iterator[Podman]:
    """Give a podman with the image, and remove what it has made."""
    directory = Path(tempfile.mkdtemp(prefix="taskman-podman-"))
    engine = Podman(directory)
    try:
        engine.make_image()
        yield engine
    finally:
        engine.remove_all()
        shutil.rmtree(directory, ignore_errors=True)
