"""A docker daemon of the tests' own, in directories of its own, with an image that is busybox alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class Daemon:
    """A running dockerd."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = f"unix://{directory}/s"
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

    def run(self, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "--host", self.host, *words], input=data, capture_output=True)

    def make_image(self) -> None:
        root = self.directory / "root"
        (root / "bin").mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox
        shutil.copy(busybox, root / "bin/busybox")
        for name in ("sh", "cat", "echo", "env", "head", "id", "pwd", "sleep", "tail", "true"):
            (root / "bin" / name).symlink_to("busybox")
        packed = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True).stdout
        made = self.run("import", "-", IMAGE, data=packed)
        assert made.returncode == 0, made.stderr

    def containers(self) -> list[str]:
        return self.run("ps", "--all", "--quiet").stdout.decode().split()

    def stop(self) -> None:
        if self.process is not None:
            for container in self.containers():
                self.run("rm", "--force", container)
            self.process.send_signal(signal.SIGCONT)
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
        shutil.rmtree(directory, ignore_errors=True)
