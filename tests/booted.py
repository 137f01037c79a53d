"""The machine's own systemd, booted as process 1 in namespaces, with taskman installed in /opt/taskman.

    with booted() as machine:
        machine.write("/etc/systemd/system/x.service", "…")
        machine.run("systemctl", "start", "x")
        machine.journal("x.service")

It sees the files of this machine, and what it writes is thrown away: every file system is an overlay in
memory. It boots in half a second. When the test process dies, however it dies, the kernel ends all of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from process_table import children, is_alive, kill, pids, status_of
from wait import wait_until

import taskman_cli

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: taskman as it is installed there.
PREFIX = "/opt/taskman"
TASKMAN = f"{PREFIX}/bin/taskman"
UNITS = "/etc/systemd/system"

_SYSTEMD = Path("/lib/systemd/systemd")
_PATH = f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: A new cgroup of this hierarchy takes no process before it is configured, and systemd does without it.
_UNUSED = "cpuset"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@cache
def why_not() -> str:
    """Return why no systemd can be booted here; "" if it can."""
    if os.geteuid() != 0:
        return "only root can boot a systemd in namespaces"
    if not _SYSTEMD.exists():
        return f"there is no systemd here ({_SYSTEMD})"
    for program in ("unshare", "nsenter", "setpriv", "pivot_root"):
        if shutil.which(program) is None:
            return f"not installed: {program}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlay file system"
    words = ["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "true"]
    made = subprocess.run(words, check=False, capture_output=True, text=True)
    return f"no namespaces can be made here: {made.stderr.strip()}" if made.returncode else ""


class Machine:
    """A booted systemd. What is run in it may be root's or another user's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")

    def argv(
        self, words: Sequence[str], *, user: str = "", env: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return the command line that runs a command inside, for a process that the test starts itself."""
        variables = {"PATH": _PATH, "LANG": "C.UTF-8", **(env or {})}
        as_user = []
        if user:
            uid = subprocess.check_output([*self._enter(), "id", "-u", user], text=True).strip()
            as_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--inh-caps=-all"]
            home = self.run("getent", "passwd", user).split(":")[5]
            runtime = f"/run/user/{uid}"
            variables |= {"HOME": home, "USER": user, "LOGNAME": user, "XDG_RUNTIME_DIR": runtime}
        given = [f"{name}={value}" for name, value in variables.items()]
        return [*self._enter(), *as_user, "env", "-i", *given, *words]

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--all", "--"]

    def call(
        self, *words: str, user: str = "", env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, and return how it ended and what it printed."""
        return subprocess.run(
            self.argv(words, user=user, env=env),
            check=False, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *words: str, user: str = "", env: Mapping[str, str] | None = None) -> str:
        """Run a command inside that has to succeed, and return its output."""
        done = self.call(*words, user=user, env=env)
        assert done.returncode == 0, f"{words} exited with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def path(self, name: str) -> Path:
        """Return the path by which the test reaches a file of the machine; links are not followed rightly."""
        return self.root / name.lstrip("/")

    def write(self, name: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the machine; its directories are made."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(mode)

    def read(self, name: str) -> str:
        """Return the text of a file; "" if it is not there."""
        path = self.path(name)
        return path.read_text("utf-8") if path.exists() else ""

    def show(self, unit: str, *names: str, user: str = "") -> dict[str, str]:
        """Return properties of a unit."""
        scope = ["--user"] if user else []
        text = self.run("systemctl", *scope, "show", unit, f"--property={','.join(names)}", user=user)
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait_for(self, unit: str, timeout_s: float = 30, user: str = "", **properties: str) -> None:
        """Wait until properties of a unit have these values."""
        seen: dict[str, str] = {}

        def has_them() -> bool:
            seen.update(self.show(unit, *properties, user=user))
            return seen == properties

        try:
            wait_until(has_them, timeout_s=timeout_s)
        except AssertionError:
            lines = "\n".join(self.log(unit))
            raise AssertionError(f"{unit} is {seen}, and not {properties}:\n{lines}") from None

    def journal(self, unit: str, *options: str) -> list[dict[str, Any]]:
        """Return what journald has of a unit: its output, and what systemd says about it."""
        words = ["journalctl", "--output=json", "--all", "--unit", unit, *options]
        return [json.loads(line) for line in self.run(*words).splitlines()]

    def log(self, unit: str) -> list[str]:
        """Return the messages of a unit in journald."""
        return [text_of(entry) for entry in self.journal(unit)]

    def wait_for_log(self, unit: str, words: str, timeout_s: float = 30) -> None:
        """Wait until a message of a unit has these words."""
        try:
            wait_until(lambda: any(words in line for line in self.log(unit)), timeout_s=timeout_s)
        except AssertionError:
            lines = "\n".join(self.log(unit))
            raise AssertionError(f"not in the log of {unit}: {words}\n{lines}") from None

    def main_pid(self, unit: str, user: str = "") -> int:
        """Return the main process of a unit, by its number outside of the machine."""
        inside = self.show(unit, "MainPID", user=user)["MainPID"]
        return self.outside(int(inside))

    def outside(self, pid: int) -> int:
        """Return the number outside of the machine of one of its processes."""
        return next(found for found in self.pids() if self.inside(found) == pid)

    @staticmethod
    def inside(pid: int) -> int:
        """Return the number that a process has inside; 0 if it is gone."""
        return int(status_of(pid).get("NSpid", "0").split()[-1])

    def pids(self) -> list[int]:
        """Return all processes of the machine, by their numbers outside of it."""
        namespace = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for pid in pids():
            with suppress(OSError):
                if Path(f"/proc/{pid}/ns/pid").readlink() == namespace:
                    found.append(pid)
        return found

    def add_user(self, name: str) -> None:
        """Make an account with a home directory."""
        self.run("useradd", "--create-home", "--shell", "/bin/sh", name)


def text_of(entry: Mapping[str, Any]) -> str:
    """Return the message of an entry; journald's JSON has one that is not UTF-8 as a list of bytes."""
    message = entry.get("MESSAGE") or ""
    return bytes(message).decode("utf-8", "backslashreplace") if isinstance(message, list) else str(message)


@contextmanager
def booted() -> Iterator[Machine]:
    """Boot systemd; at the end, nothing of it is left."""
    _sweep()
    name = f"booted-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as work, tempfile.TemporaryFile("w+") as log:
        groups = _make_groups(name)
        script = _script(Path(work), groups, name)
        # The signal that comes with the end of the test process also survives the two `exec`s.
        init = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-euc", script],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield _wait_for_boot(init, log)
        finally:
            # With process 1 go all others of its namespace, and then the one that started it.
            for pid in children(init.pid) or [init.pid]:
                kill(pid, signal.SIGKILL)
            init.wait(60)
            for group in groups:
                _remove_group(group)


def _wait_for_boot(init: subprocess.Popen[bytes], log: Any) -> Machine:
    def is_up() -> Machine | None:
        assert init.poll() is None, f"systemd did not boot: {_text(log)}"
        for pid in children(init.pid):
            machine = Machine(pid)
            if machine.call("systemctl", "is-active", "basic.target").returncode == 0:
                return machine
        return None

    try:
        machine = wait_until(is_up, timeout_s=60, what="basic.target")
    except AssertionError as error:
        raise AssertionError(f"{error}: {_text(log)}") from None
    _install(machine)
    return machine


def _text(log: Any) -> str:
    log.seek(0)
    return str(log.read())


def _make_groups(name: str) -> list[Path]:
    """Make a cgroup of that name in each hierarchy."""
    groups = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2") and _UNUSED not in options.split(","):
            group = Path(before.split()[4]) / name
            group.mkdir()
            groups.append(group)
    return groups


def _remove_group(group: Path) -> None:
    """Remove a cgroup with those in it; the kernel needs a moment after the end of their last process."""

    def is_gone() -> bool:
        for directory, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106
        return not group.exists()

    wait_until(is_gone, what=f"the end of {group}")


def _sweep() -> None:
    """Remove the cgroups and mount points of test processes that were killed."""
    for work in Path(tempfile.gettempdir()).glob("booted-*-*"):
        if not is_alive(int(work.name.split("-")[1])):
            with suppress(OSError):
                work.rmdir()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, kind = Path(line.split()[4]), line.split(" - ", 1)[1].split()[0]
        for group in place.glob("booted-*") if kind.startswith("cgroup") else ():
            if not is_alive(int(group.name.rpartition("-")[2])):
                with suppress(AssertionError):
                    _remove_group(group)


def _mounts() -> list[str]:
    """Return the lines that mount the hierarchies of cgroups as they are here."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    kinds = [line.split(":")[1] for line in lines]
    if kinds == [""]:
        return ["mount -t cgroup2 cgroup2 sys/fs/cgroup"]
    made = ["mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup"]
    for kind in kinds:
        folder = {"": "unified", "name=systemd": "systemd"}.get(kind, kind)
        how = {"": "-t cgroup2", "name=systemd": "-t cgroup -o none,name=systemd"}
        if _UNUSED not in kind.split(","):
            made.append(f"mkdir sys/fs/cgroup/{folder}")
            made.append(f"mount {how.get(kind, f'-t cgroup -o {kind}')} cgroup sys/fs/cgroup/{folder}")
    return made


def _script(work: Path, groups: Sequence[Path], name: str) -> str:
    """Return the script that becomes process 1: outside of the namespaces, in them, and in its root."""
    package, site = Path(taskman_cli.__file__).parent, Path(sysconfig.get_path("purelib"))
    there = f"root{PREFIX}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    inside = [
        "mount --make-rprivate /",
        f"mount -t tmpfs -o size=2G,mode=755 tmpfs {work}",
        f"cd {work}",
        "mkdir root",
        *_overlay("/", "root"),
        *_overlay(str(site), there),
        *_overlay(str(package), f"{there}/taskman_cli"),
        ": >root/etc/machine-id",
        f"echo {name} >root/etc/hostname",
        "rm -rf root/etc/systemd/system/*.wants root/var/log/journal",
        "cd root",
        "mount -t proc proc proc",
        "mount -t sysfs sysfs sys",
        *_mounts(),
        "mount -t tmpfs -o mode=755 tmpfs dev",
        *(f": >dev/{device}; mount --bind /dev/{device} dev/{device}" for device in _DEVICES),
        "mkdir dev/pts dev/shm",
        "mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts",
        "ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd",
        "mount -t tmpfs -o mode=1777 tmpfs dev/shm",
        "mount -t tmpfs -o mode=755 tmpfs run",
        "mount -t tmpfs -o mode=1777 tmpfs tmp",
        "mkdir .outside; pivot_root . .outside; cd /; umount -l /.outside; rmdir /.outside",
        f"exec env -i container=taskman-test PATH={_PATH} {_SYSTEMD}"
        " --unit=basic.target --show-status=0 --log-target=journal",
    ]
    joins = [f"echo $$ >{group}/cgroup.procs" for group in groups]
    words = "unshare --pid --fork --kill-child --mount --uts --ipc --cgroup sh -euc"
    quoted = "\n".join(inside).replace("'", "'\\''")
    return "\n".join([*joins, f"exec {words} '{quoted}'"])


def _overlay(lower: str, at: str) -> list[str]:
    """Return the lines that show a directory of this machine at a place where it can be written to."""
    upper = f"up-{at.replace('/', '-')}"
    options = f"lowerdir={lower},upperdir={upper}/files,workdir={upper}/work"
    return [f"mkdir -p {at} {upper}/files {upper}/work", f"mount -t overlay -o {options} overlay {at}"]


def _install(machine: Machine) -> None:
    """Complete the virtual environment in /opt/taskman, whose packages are this one's."""
    base = Path(sys.executable).resolve()
    version = ".".join(map(str, sys.version_info[:3]))
    for directory in base.parents:  # so that other users can run it, too
        path = machine.path(str(directory))
        path.chmod(path.stat().st_mode | 0o555)
    (machine.path(PREFIX) / "bin").mkdir()
    machine.path(f"{PREFIX}/bin/python").symlink_to(base)
    machine.write(f"{PREFIX}/pyvenv.cfg", f"home = {base.parent}\nversion = {version}\n")
    start = "import sys\nfrom taskman_cli.__main__ import main\nsys.exit(main())\n"
    machine.write(TASKMAN, f"#!{PREFIX}/bin/python\n{start}", mode=0o755)
