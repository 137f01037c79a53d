"""What a reload changes: the jobs that are new, changed or gone, found in the process that reads the files.

A scheduler of 100,000 jobs would stand still for seconds if it took them all anew. So it gives the reader the
dump of those that it has; the reader compares, and the scheduler takes only what is different. The jobs come
in portions, since decoding one holds the interpreter's lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.collector import without_collections
from taskman_cli.jobfile.dump import BadDump, encoded, field_names, load_dump, load_part, pack, unpack
from taskman_cli.jobfile.load import JobFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.model import Job

#: How many jobs are decoded at once: about two milliseconds.
PORTION = 250
_TUPLE = "()"


@dataclass(frozen=True, slots=True)
class Difference:
    """From the jobs that a scheduler has to those that were read."""

    #: Those that are new, or in any way other than before, in the order of the files.
    jobs: tuple[Job, ...]
    #: Names of those that are not defined any more.
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackedDifference:
    """The same as bytes and plain values, for another process."""

    #: The job files without their jobs.
    rest: bytes
    #: Portions of the jobs that are new or changed.
    portions: tuple[bytes, ...]
    removed: tuple[str, ...]
    #: All names, where replacing, removing and adding at the end would not give the order of the files.
    order: tuple[str, ...] | None


def dump_with_difference(jobfile: JobFile, known: bytes | None) -> tuple[bytes, PackedDifference | None]:
    """Return the dump of job files, and what is different from a known one.

    None: there is no known one, or it is of another version.
    """
    with without_collections():
        root = encoded(jobfile)
        return pack(root), None if known is None else _difference(root, known)


def _difference(root: Any, known: bytes) -> PackedDifference | None:
    names = field_names()
    try:
        known_names, known_root = unpack(known)
        if known_names != names:
            return None
        place = 1 + names["JobFile"].index("jobs")
        before = {job[1]: job for job in known_root[place][1:]}
    except (ValueError, TypeError, LookupError, EOFError):
        return None
    assert names["Job"][0] == "id", "it stands behind the tag"
    jobs = root[place][1:]
    there = {job[1] for job in jobs}
    changed = [job for job in jobs if before.get(job[1]) != job]
    expected = [name for name in before if name in there]
    expected += [job[1] for job in jobs if job[1] not in before]
    order = tuple(job[1] for job in jobs)
    return PackedDifference(
        pack((*root[:place], (_TUPLE,), *root[place + 1 :])),
        tuple(pack((_TUPLE, *changed[first : first + PORTION])) for first in range(0, len(changed), PORTION)),
        tuple(name for name in before if name not in there),
        order if order != tuple(expected) else None,
    )


def merged(before: Sequence[Job], packed: PackedDifference) -> tuple[JobFile, Difference]:
    """Return the job files that were read, and what is different in them. Raises BadDump."""
    rest = load_dump(packed.rest)
    changed = tuple(job for portion in packed.portions for job in load_part(portion))
    put = {job.id: job for job in changed}
    removed = frozenset(packed.removed)
    jobs = [put.pop(job.id, job) for job in before if job.id not in removed]
    jobs += put.values()
    if packed.order is not None:
        by_name = {job.id: job for job in jobs}
        try:
            jobs = [by_name[name] for name in packed.order]
        except KeyError as error:
            raise BadDump(f"job {error} is missing") from error
    return replace(rest, jobs=tuple(jobs)), Difference(changed, packed.removed)
