"""Which paths no other user can make slow: all components are root's or ours, on a local file system.

Starting a program accesses its directory, its file and its interpreter. A user who owns one of them can delay
that as long as they like (with a lease on the file, or a FUSE mount), and so can a server that is down. This
module never looks behind the first such component of a path, so the check itself is never slow.
"""

from __future__ import annotations

import os
import select
import stat
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

#: File systems that only this machine's kernel answers for.
_LOCAL_FILE_SYSTEMS = frozenset(
    (
        b"bcachefs btrfs cgroup cgroup2 devpts devtmpfs erofs exfat ext2 ext3 ext4 f2fs hugetlbfs iso9660 jfs"
        b" mqueue msdos nilfs2 ntfs3 overlay proc ramfs reiserfs rootfs squashfs sysfs tmpfs ubifs udf vfat"
        b" xfs zfs"
    ).split()
)
#: Those of them whose files are no data: what opening one means depends on the process.
_WITHOUT_DATA = frozenset(b"cgroup cgroup2 devpts devtmpfs mqueue proc sysfs".split())
#: The system's limit of symbolic links in one path.
_MOST_LINKS = 40
#: How much of a script's first line the kernel reads.
_FIRST_LINE_BYTES = 256
#: How long an answer is valid: root may change the path meanwhile.
_KEEP_NS = 1_000_000_000
#: Starts within this time are of one batch: the mounts are looked at once.
_BATCH_NS = 1_000_000


class Verdict:
    """What is known of a path."""

    #: No other user can change it, or make us wait.
    TRUSTED = "trusted"
    #: Another user owns it or a component of its path, or can write to it.
    OTHERS = "others"
    #: It is on a file system that may have to wait, for example for a server.
    FOREIGN = "foreign"


class _NotTrusted(Exception):
    """Say that another user may delay the use of a path."""

    def __init__(self, verdict: str) -> None:
        super().__init__()
        self.verdict = verdict


class TrustedPaths:
    """Tells trusted paths from others, as seen from one working directory."""

    def __init__(self, home: str) -> None:
        """Take the directory that relative paths start from; it is entered by descriptor, not by name."""
        self._home = home
        self._owners = {0, os.geteuid()}
        self._groups = {0, os.getegid()}
        self._changes = select.poll()
        try:
            self._mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # no /proc: unknown
            self._mountinfo = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        else:
            self._changes.register(self._mountinfo, select.POLLPRI)
        weakref.finalize(self, os.close, self._mountinfo)
        self._foreign: frozenset[str] = frozenset()
        self._without_data: frozenset[str] = frozenset()
        self._is_home_local = False
        self._read_mounts()
        self._known: dict[object, bool] = {}
        #: Trusted directories, without links.
        self._directories: dict[str, str] = {}
        self._known_since_ns = self._looked_ns = 0

    def is_start_prompt(self, spec: Mapping[str, Any], search_path: str, *, now_ns: int) -> bool:
        """Tell if no other user can delay the start of what `spec` describes, with this PATH."""
        if now_ns - self._looked_ns > _BATCH_NS:
            self._looked_ns = now_ns
            self._look_at_mounts()
        if now_ns - self._known_since_ns > _KEEP_NS:
            self._forget()
            self._known_since_ns = now_ns
        argv, shell, cwd = spec["argv"], spec["shell"], spec["cwd"]
        program = argv[0] if argv else "", shell[0] if shell else ""
        direct = spec.get("direct")
        key = (*program, cwd, search_path, direct and (direct["argv"][0], direct["cd"]))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = all(self._paths_are_trusted(spec, search_path))
        return known

    def _paths_are_trusted(self, spec: Mapping[str, Any], search_path: str) -> Iterator[bool]:
        """Judge each path that a start uses, in the order in which it is used."""
        cwd = spec["cwd"]
        yield self._is_home_local
        if cwd is not None:
            # In some of /proc each process is somewhere else, so only the child itself can go there.
            yield self.is_trusted(cwd, excluded=self._without_data)
        for argv in (spec["argv"], spec["shell"]):
            if argv and argv[0]:
                yield from self._programs_are_trusted(argv[0], cwd, search_path)
        direct = spec.get("direct")
        if direct is not None:
            directory = cwd
            if direct["cd"] is not None:
                directory = _join(cwd, direct["cd"])
                yield self.is_trusted(directory)
            yield from self._programs_are_trusted(direct["argv"][0], directory, search_path)

    def _programs_are_trusted(self, name: str, directory: str | None, search_path: str) -> Iterator[bool]:
        """Judge each program that may be meant by a name, as seen from a directory."""
        if "/" in name:
            yield self._is_program_trusted(_join(directory, name))
            return
        for place in search_path.split(":"):
            path = _join(directory, f"{place}/{name}" if place else name)
            yield self._is_program_trusted(path)
            if os.access(_join(self._home, path), os.X_OK):  # all so far is trusted, so this is quick
                return

    def _is_program_trusted(self, path: str, *, depth: int = 0) -> bool:
        """Judge a program and its chain of interpreters."""
        if not self.is_trusted(path):
            return False
        interpreter = _interpreter(_join(self._home, path))
        if interpreter is None:
            return True
        # The kernel follows five; it refuses more at once.
        return depth > 5 or self._is_program_trusted(interpreter, depth=depth + 1)

    def is_trusted(self, path: str, *, excluded: frozenset[str] = frozenset()) -> bool:
        """Tell if no other user can delay the use of a path, which is not below a mount point `excluded`.

        `is_start_prompt` looks at the mounts.
        """
        try:
            if path.startswith("/"):
                self._walk("", path, excluded=excluded)
            elif self._is_home_local:
                # The start directory is entered by descriptor, whoever owns it; below it names count.
                self._walk(self._home, path, excluded=excluded)
            else:
                return False
        except _NotTrusted:
            return False
        return True

    def is_file_prompt(self, directory: str | None, target: str, *, most_bytes: int | None) -> bool:
        """Tell if opening a file for reading or writing waits for nobody, and opens what it opens for all.

        It is a regular file that no other user can replace, of at most `most_bytes`, or missing where no
        other user can make it. `directory` is trusted; None: the start directory.
        """
        above, _, name = _join(self._home, _join(directory, target)).rpartition("/")
        try:
            here = self._directories.get(above)
            if here is None:
                here = self._directories[above] = self._walk("", above, excluded=self._without_data)
            path = self._walk(here, name, excluded=self._without_data)
            parent = self._look(above := path.rpartition("/")[0] or "/")
            status = self._look(path)
        except _NotTrusted:
            return False
        if parent is None:
            return False  # perhaps another user can make it
        is_shared = bool(parent.st_mode & stat.S_ISVTX) or not self._is_ours_to_write(parent, above)
        if status is None:
            return not is_shared
        # In a shared directory, the kernel lets nobody open the file of another user for writing.
        is_ours = not is_shared or status.st_uid == os.geteuid()
        return (
            is_ours and stat.S_ISREG(status.st_mode) and (most_bytes is None or status.st_size <= most_bytes)
        )

    def judge(self, path: str) -> str:
        """Judge a full path by each component of it and of its links; a missing path is trusted."""
        self._look_at_mounts()
        try:
            self._walk("", path)
        except _NotTrusted as error:
            return error.verdict
        return Verdict.TRUSTED

    def _walk(self, here: str, path: str, *, links: int = 0, excluded: frozenset[str] = frozenset()) -> str:
        """Follow a path from a directory on; return it without links, up to what is missing; "": the root.

        Raises _NotTrusted, also at the mount points that are `excluded`.
        """
        names = path.split("/")
        for place, name in enumerate(names):
            if name in ("", "."):
                continue
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            there = f"{here}/{name}"
            if there in excluded:
                raise _NotTrusted(Verdict.FOREIGN)
            status = self._look(there)
            if status is None or links > _MOST_LINKS:  # using it fails at once
                return there
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(there)  # noqa: PTH115 - pathlib is 3 MB
                rest = "/".join((target, *names[place + 1 :]))
                return self._walk(
                    "" if target.startswith("/") else here, rest, links=links + 1, excluded=excluded
                )
            here = there
        return here

    def _look(self, path: str) -> os.stat_result | None:
        """Look at one component, all before it being trusted; None: it is missing. Raises _NotTrusted."""
        if path in self._foreign:
            raise _NotTrusted(Verdict.FOREIGN)
        try:
            status = os.lstat(path)
        except (OSError, ValueError):  # ValueError: a NUL
            return None
        if status.st_uid not in self._owners or not self._is_ours_to_write(status, path):
            raise _NotTrusted(Verdict.OTHERS)
        return status

    def _is_ours_to_write(self, status: os.stat_result, path: str) -> bool:
        mode = status.st_mode
        if not mode & (stat.S_IWGRP | stat.S_IWOTH) or stat.S_ISLNK(mode):
            return True
        if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:  # sticky: others cannot replace our files in it
            return True
        return not mode & stat.S_IWOTH and status.st_gid in self._groups and not _has_access_list(path)

    def _look_at_mounts(self) -> None:
        if self._changes.poll(0):
            self._read_mounts()
            self._forget()

    def _forget(self) -> None:
        self._known.clear()
        self._directories.clear()

    def _read_mounts(self) -> None:
        os.lseek(self._mountinfo, 0, os.SEEK_SET)
        data = b""
        while piece := os.read(self._mountinfo, 1 << 16):
            data += piece
        kinds: dict[bytes, bytes] = {}
        for line in data.splitlines():
            before, _, after = line.partition(b" - ")
            kinds[_unescaped(before.split(b" ")[4])] = after.split(b" ", 1)[
                0
            ]  # the last one covers the others
        # If the whole system is on a server, nothing works without it anyway.
        root_kind = kinds.get(b"/", b"rootfs")
        local = _LOCAL_FILE_SYSTEMS | {root_kind}
        self._foreign = _points_of(kinds, frozenset(kinds.values()) - local)
        self._without_data = _points_of(kinds, _WITHOUT_DATA)
        self._is_home_local = not any(
            self._home == point or self._home.startswith(f"{point}/") for point in self._foreign
        )


def _has_access_list(path: str) -> bool:
    """Tell if a file names further users and groups; then the mode of its group is the most they may."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access", follow_symlinks=False))
    except OSError:
        return False


def _join(directory: str | None, path: str) -> str:
    return path if directory is None or path.startswith("/") else f"{directory}/{path}"


def _points_of(kinds: Mapping[bytes, bytes], wanted: frozenset[bytes]) -> frozenset[str]:
    """Return the mount points of file systems of these kinds."""
    return frozenset(os.fsdecode(point) for point, kind in kinds.items() if kind in wanted)


def _interpreter(path: str) -> str | None:
    """Return the program that a script's first line names, or None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        first = os.read(fd, _FIRST_LINE_BYTES)
    except OSError:  # a directory
        return None
    finally:
        os.close(fd)
    if not first.startswith(b"#!"):
        return None
    words = first[2:].partition(b"\n")[0].split()
    return os.fsdecode(words[0]) if words else None


def _unescaped(point: bytes) -> bytes:
    """Undo the kernel's octal escapes of blanks and backslashes."""
    if b"\\" not in point:
        return point
    for code in (b"040", b"011", b"012", b"134"):  # the backslash last
        point = point.replace(b"\\" + code, bytes([int(code, 8)]))
    return point
