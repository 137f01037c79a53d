"""What a reload changes, as the process that reads the files tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.jobfile import difference as difference_module
from taskman_cli.jobfile import loads
from taskman_cli.jobfile.difference import PackedDifference, dump_with_difference, merged
from taskman_cli.jobfile.dump import BadDump, dump, load_dump, pack
from taskman_cli.jobfile.load import JobFile


def job_file(jobs: dict[str, int]) -> JobFile:
    """Return one with these jobs in their order, each with a command by its number."""
    tables = (f'[jobs.{name}]\ncron = "{number} * * * *"\ncommand = "c"\n' for name, number in jobs.items())
    return loads("".join(tables), timezone="UTC")


JOBS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2)), unique_by=lambda job: job[0]).map(
    dict
)


@given(JOBS, JOBS, st.integers(1, 3))
def test_what_is_different_leads_from_the_jobs_before_to_those_that_were_read(
    before: dict[str, int], after: dict[str, int], portion: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(difference_module, "PORTION", portion)
        known, read = job_file(before), job_file(after)
        dumped, packed = dump_with_difference(read, dump(known))
        assert load_dump(dumped) == read
        assert packed is not None
        jobfile, found = merged(known.jobs, packed)
    assert jobfile == read
    changed = [name for name, number in after.items() if before.get(name) != number]
    assert [job.id for job in found.jobs] == changed
    assert list(found.removed) == [name for name in before if name not in after]
    unchanged = {job.id: job for job in known.jobs if job.id not in changed}
    assert all(job is unchanged[job.id] for job in jobfile.jobs if job.id in unchanged)


def test_all_that_is_not_a_job_comes_whole() -> None:
    known = job_file({"a": 1})
    read = loads('[pool]\nmax_workers = 3\n[jobs.a]\ncron = "1 * * * *"\ncommand = "c"\n', timezone="UTC")
    _, packed = dump_with_difference(read, dump(known))
    assert packed is not None
    jobfile, found = merged(known.jobs, packed)
    assert jobfile == read
    assert (found.jobs, found.removed) == ((), ())


def test_a_job_that_is_the_same_in_another_file_is_told() -> None:
    known = job_file({"a": 1})
    moved = replace(known, jobs=(replace(known.jobs[0], source="other.toml"),))
    _, packed = dump_with_difference(moved, dump(known))
    assert packed is not None
    assert [job.source for job in merged(known.jobs, packed)[1].jobs] == ["other.toml"]


@pytest.mark.parametrize(
    "known",
    [None, b"", b"rubbish", pack(1), pack(("JobFile",)), dump(job_file({"a": 1}))[:-9]],
    ids=["none", "empty", "rubbish", "a number", "too short", "cut"],
)
def test_without_jobs_before_that_can_be_read_all_are_told(known: bytes | None) -> None:
    read = job_file({"a": 1})
    dumped, packed = dump_with_difference(read, known)
    assert (load_dump(dumped), packed) == (read, None)


def test_jobs_of_another_version_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    names = difference_module.field_names()
    monkeypatch.setattr(
        difference_module, "field_names", lambda: names | {"Job": (*names["Job"], "a_new_one")}
    )
    read = job_file({"a": 1})
    assert dump_with_difference(read, dump(read))[1] is None


def test_a_difference_from_other_jobs_is_refused() -> None:
    read = job_file({"b": 1, "a": 1})
    _, packed = dump_with_difference(read, dump(job_file({"a": 1})))
    assert packed is not None
    with pytest.raises(BadDump, match="job 'a' is missing"):
        merged((), PackedDifference(packed.rest, packed.portions, packed.removed, packed.order))
