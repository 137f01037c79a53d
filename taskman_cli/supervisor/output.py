"""A command's output: out of the pipe and into a file that never grows past its bound.

The file holds the first `max_bytes` as they came; of what follows, the tail (`ring`). So head and tail are on
disk at any instant, and a file that is found after a crash can be settled (`settle`).
"""

from __future__ import annotations

import os

from taskman_cli.supervisor.ring import CHUNK_BYTES, TRAILER_BYTES, cut_line, split, total_in, trailer_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
#: How much of each part `settle` copies between two yields: that takes a millisecond in total.
STEP_BYTES = 1 << 20

# One buffer for all pipes: there is one thread, and no chunk outlives its write.
_BUFFER = bytearray(CHUNK_BYTES)
_VIEW = memoryview(_BUFFER)


class BoundedFile:
    """Head and tail of one stream, in a file that is made at the first byte.

    A disk error loses output and nothing else: lost bytes count as cut, and `error` says why.
    """

    __slots__ = ("_accepted", "_fd", "_has_trailer", "_is_barred", "_max", "_path", "error", "total_bytes")

    def __init__(self, path: str, max_bytes: int) -> None:
        self._path = os.fsdecode(path)
        self._max = max(0, int(max_bytes))
        self._fd: int | None = None
        self._accepted = 0
        self._has_trailer = False
        self._is_barred = False
        #: Bytes that came, kept or not.
        self.total_bytes = 0
        #: The last error in words.
        self.error: str | None = None

    @classmethod
    def resume(cls, path: str, max_bytes: int) -> BoundedFile:
        """Continue the file that a killed process left at `path`.

        A file that cannot be opened or continued (it is settled, or has another bound) is not changed: all
        that comes counts as cut, and `error` says why.
        """
        file = cls(path, max_bytes)
        try:
            file._open_again()
        except FileNotFoundError:  # nothing was printed so far
            pass
        except (OSError, ValueError) as error:
            file._is_barred = True
            file._note(error)
        return file

    def _open_again(self) -> None:
        fd = _open(self._path, os.O_RDWR | os.O_NONBLOCK)
        try:
            size = os.fstat(fd).st_size
            total = size if size <= self._max else _read_trailer(fd, self._max)
            if total is None:
                raise ValueError("cannot be continued")
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._accepted = self.total_bytes = total
        self._has_trailer = size > self._max

    @property
    def cut_bytes(self) -> int:
        """Return how many bytes of the stream are not in the file."""
        return self.total_bytes - min(self._accepted, self._max)

    def write(self, data: memoryview) -> None:
        """Write the next piece of the stream."""
        self.total_bytes += len(data)
        if self._is_barred:
            return
        try:
            if self._fd is None:
                self._fd = _create(self._path)
            self._store(self._fd, data)
        except (OSError, ValueError) as error:  # ValueError: no path at all
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.error = f"{getattr(error, 'strerror', error)}: {self._path}"

    def _store(self, fd: int, data: memoryview) -> None:
        while data:
            if self._accepted < self._max:
                offset, room = self._accepted, self._max - self._accepted
            else:
                if not self._has_trailer:  # claims its block before the ring loses its order
                    self._write_trailer(fd)
                head = split(self._max)
                ring = self._max - head
                skipped = max(0, len(data) - ring)
                self._accepted += skipped
                data = data[skipped:]
                if not data:
                    break
                position = (self._accepted - self._max) % ring
                offset, room = head + position, ring - position
            written = os.pwrite(fd, data[:room], offset)
            self._accepted += written
            data = data[written:]
        if self._has_trailer:
            self._write_trailer(fd)

    def _write_trailer(self, fd: int) -> None:
        if os.pwrite(fd, trailer_of(self._accepted), self._max) == TRAILER_BYTES:
            self._has_trailer = True

    def finish(self) -> Iterator[None]:
        """Close the file, and return the steps that settle it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return settle(self._path, self._max) if self._has_trailer else iter(())


class Relay:
    """Shows the output of another user's command on our terminal, without giving it the terminal itself.

    With the terminal, that user could read what is typed there, and control it. Nothing is kept, and what a
    stopped terminal does not take is dropped.
    """

    total_bytes = cut_bytes = 0
    error: str | None = None

    def __init__(self, terminal: int) -> None:
        # Opened again: O_NONBLOCK belongs to the open file, which others share.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        self._fd: int | None = os.open(f"/proc/self/fd/{terminal}", flags)

    def write(self, data: memoryview) -> None:
        """Show the next piece, with control characters escaped."""
        text = bytes(data).decode("utf-8", "backslashreplace")
        shown = "".join(map(_printable, text)).encode()
        try:
            while shown and self._fd is not None:
                shown = shown[os.write(self._fd, shown) :]
        except OSError:  # full, or gone
            return

    def finish(self) -> Iterator[None]:
        """Close the terminal."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return iter(())


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode()


class Capture:
    """The pipe of one attempt and what it is read into."""

    __slots__ = ("fd", "file", "is_kept")

    def __init__(self, fd: int, file: BoundedFile | Relay) -> None:
        self.fd = fd
        self.file = file
        #: False: what still comes is read, so that no writer blocks, and discarded.
        self.is_kept = True

    def pump(self, budget: int, *, to_end: bool = False) -> bool:
        """Read about `budget` bytes from the pipe; return whether more may come.

        `to_end`: read until the pipe is empty or at its end; otherwise stop at a short read.
        """
        while budget > 0:
            try:
                count = os.readv(self.fd, (_BUFFER,))
            except BlockingIOError:
                return True
            if count == 0:
                return False
            if self.is_kept:
                self.file.write(_VIEW[:count])
            if count < CHUNK_BYTES and not to_end:
                return True
            budget -= count
        return True


def settle(path: str, max_bytes: int) -> Iterator[None]:
    """Turn an output file with a trailer into head, cut line and tail; any other file is not changed.

    It works in steps, since a large copy takes a while. The new file replaces the old one at the end, so that
    a crash changes nothing; on a full disk the file is not changed.
    """
    try:
        directory = _open_directory(path)
    except (OSError, ValueError):  # ValueError: no path at all
        return
    try:
        yield from _settle(directory, path.rpartition("/")[2], max_bytes)
    finally:
        os.close(directory)


def _settle(directory: int, name: str, max_bytes: int) -> Iterator[None]:
    temporary = f"{name}.part"
    try:
        # The path may come from a ledger: it may be a pipe, which must not be waited for.
        source = os.open(name, _FLAGS | os.O_RDONLY | os.O_NONBLOCK, dir_fd=directory)
    except (OSError, ValueError):
        return
    try:
        total = _read_trailer(source, max_bytes)
        if total is None:
            return
        head = split(max_bytes)
        ring = max_bytes - head
        seam = head + (total - max_bytes) % ring if ring else head
        flags = _FLAGS | os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        target = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            yield from _copy(source, target, 0, head)
            is_line_open = head > 0 and os.pread(source, 1, head - 1) != b"\n"
            _write(target, cut_line(total - max_bytes, is_line_open=is_line_open))
            yield from _copy(source, target, seam, max_bytes)
            yield from _copy(source, target, head, seam)
        finally:
            os.close(target)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        _remove(temporary, directory)
    finally:
        os.close(source)


def _read_trailer(fd: int, max_bytes: int) -> int | None:
    if os.fstat(fd).st_size <= max_bytes:
        return None
    return total_in(os.pread(fd, TRAILER_BYTES + 1, max_bytes))


def _copy(source: int, target: int, begin: int, end: int) -> Iterator[None]:
    while begin < end:
        count = os.sendfile(target, source, begin, min(STEP_BYTES, end - begin))
        if count == 0:
            raise OSError("the file has become shorter")
        begin += count
        if begin < end:
            yield


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _create(path: str) -> int:
    return _open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, is_made=True)


def _open(path: str, flags: int, *, is_made: bool = False) -> int:
    """Open a file; `is_made`: create its directory. Neither may be a link."""
    directory = _open_directory(path, is_made=is_made)
    try:
        return os.open(path.rpartition("/")[2], _FLAGS | flags, 0o600, dir_fd=directory)
    finally:
        os.close(directory)


def _open_directory(path: str, *, is_made: bool = False) -> int:
    """Open the directory of a path; `is_made`: create it and missing parents, with mode 0700."""
    above, slash, _ = path.rpartition("/")
    above = above or slash or "."
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(above, flags)
    except FileNotFoundError:
        if not is_made or above in ("/", "."):
            raise
    parent = _open_directory(above, is_made=True)
    name = above.rpartition("/")[2]
    try:
        _make_directory(name, parent)
        return os.open(name, flags, dir_fd=parent)
    finally:
        os.close(parent)


def _make_directory(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:  # created in between, or not a directory: opening it tells
        return


def _remove(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        return
