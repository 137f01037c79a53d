"""Write a job file with one job to a place that the job file of a running scheduler includes."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.crontab.source import crontabs_in
from taskman_cli.jobfile.source import decoded, parse_source, read_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from taskman_cli.trust import Trust

#: A longer file has more than one job.
_MOST_BYTES = 1 << 20
_EXAMPLE = 'include = ["jobs.d/*.toml"]'


def place_of(name: str, files: Sequence[Path]) -> Path:
    """Return the path at which a job file includes a new file of this name; raises TaskmanError."""
    for file in files:
        if file.is_dir():
            if _has_crontabs(file):
                continue  # a job file among them would disable the crontabs
            return file / f"{name}.toml"
        for pattern in _patterns(file):
            if (folder := _folder(file.absolute().parent, pattern, f"{name}.toml")) is not None:
                return folder / f"{name}.toml"
    shown = files[0] if files else "the job file"
    raise TaskmanError(
        f"{shown} includes no directory for a new file: put {_EXAMPLE} under its [taskman], or give --file "
        "with a name that it includes"
    )


def _has_crontabs(directory: Path) -> bool:
    return not any(directory.glob("*.toml")) and bool(crontabs_in(directory, None)[0])


def _patterns(file: Path) -> Iterable[str]:
    """Return the `include` patterns of a file; errors in it are reported later."""
    try:
        tables = read_source(file).tables
    except (JobFileError, IsADirectoryError):
        return ()
    table = tables.get("taskman")
    patterns = table.get("include", []) if isinstance(table, dict) else []
    return [pattern for pattern in patterns if isinstance(pattern, str)] if isinstance(patterns, list) else ()


def _folder(base: Path, pattern: str, filename: str) -> Path | None:
    """Return the directory in which a pattern matches this file, if it is exactly one."""
    path = base / os.path.expanduser(pattern)  # noqa: PTH111 - of a user that there is not, it raises nothing
    if path.is_dir():
        return path
    if fnmatchcase(filename, path.name) and not _is_pattern(str(Path(pattern).parent)):
        return path.parent
    return None


def _is_pattern(text: str) -> bool:
    return any(char in text for char in "*?[")


def check(
    text: str,
    place: Path,
    files: Iterable[Path],
    *,
    user_crontabs: Sequence[Path],
    skip_bad: bool,
    dialect: str | None,
    trust: Trust | None = None,
) -> None:
    """Read a text together with the job files, as if it stood at `place`; raises JobFileError."""
    with _beside(place, text) as draft:
        try:
            load(
                [*files, draft],
                user_crontabs=user_crontabs,
                skip_bad=skip_bad,
                dialect=dialect,
                trust=trust,
            )
        except JobFileError as error:
            raise JobFileError(
                replace(problem, file=str(place)) if problem.file == str(draft) else problem
                for problem in error.problems
            ) from None


def write(text: str, place: Path) -> None:
    """Write a new file atomically; raises TaskmanError if it already exists."""
    try:
        with _beside(place, text) as draft:
            # Reserve the name; an empty file is a job file without jobs.
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            try:
                os.replace(draft, place)  # noqa: PTH105
            except OSError:
                place.unlink()
                raise
        _sync_directory(place.parent)
    except FileExistsError:
        raise TaskmanError(f"{place} already exists: choose another name, or edit it") from None
    except OSError as error:
        raise _unwritable(place, error) from error


@contextmanager
def taken_away(name: str, place: Path, *, uid: int) -> Iterator[None]:
    """Delete the file that defines this job and nothing else; put it back if an error follows.

    The scheduler that names the file runs as `uid`: another user's scheduler cannot have root delete what
    is not that user's. Raises TaskmanError.
    """
    try:
        directory_fd = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _undeletable(place, error) from error
    aside = f".{place.name}.{os.getpid()}.removed"
    try:
        _check_deletable(name, place, directory_fd, uid)
        os.rename(place.name, aside, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        try:
            yield
        except BaseException:
            os.rename(aside, place.name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
            raise
        os.unlink(aside, dir_fd=directory_fd)
        os.fsync(directory_fd)
    except OSError as error:
        raise _undeletable(place, error) from error
    finally:
        os.close(directory_fd)


def _check_deletable(name: str, place: Path, directory_fd: int, uid: int) -> None:
    """Check that a file is the user's and defines one job alone."""
    fd = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        owners = {os.fstat(fd).st_uid, os.fstat(directory_fd).st_uid}
        if os.geteuid() == 0 and uid != 0 and owners != {uid}:
            raise TaskmanError(f"{place} is not of the user of the scheduler (uid {uid}): left alone")
        text = file.read(_MOST_BYTES)
    try:
        tables = parse_source(decoded(text, place), place).tables
    except JobFileError:
        tables = {}
    jobs = tables.get("jobs")
    if tables.keys() != {"jobs"} or not isinstance(jobs, dict) or jobs.keys() != {name}:
        raise TaskmanError(
            f"{place} does not define {name} alone: delete the job from it yourself, then `taskman reload`"
        )


def _undeletable(place: Path, error: OSError) -> TaskmanError:
    return TaskmanError(f"cannot delete {place}: {error.strerror}")


@contextmanager
def _beside(place: Path, text: str) -> Iterator[Path]:
    """Write a text to a hidden file next to `place`, which no job file includes; remove it at the end."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{place.stem}.", suffix=".new", dir=place.parent)
    except OSError as error:
        raise _unwritable(place, error) from error
    draft = Path(name)
    try:
        with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(fd, 0o644)
            file.write(text)
            file.flush()
            os.fsync(fd)
        yield draft
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unwritable(place: Path, error: OSError) -> TaskmanError:
    return TaskmanError(f"cannot write {place}: {error.strerror}")


def text_of(name: str, job: Mapping[str, Any]) -> str:
    """Write a job as a job file of its own."""
    from taskman_cli.cli.support.tomltext import job_file

    return job_file(name, {key: value for key, value in job.items() if value is not None})
