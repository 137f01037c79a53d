"""What a request names, and what its client is told if there is no such thing."""

from __future__ import annotations

import pytest

from taskman_cli.core.engine.marks import JobHidden
from taskman_cli.scheduler.requests.lookups import MOST_SEARCHED, no_job


def names(count: int) -> dict[str, None]:
    return {"backup": None} | {f"something-{number}": None for number in range(1, count)}


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (2, 'there is no job "bakcup" (did you mean "backup"?)'),
        (MOST_SEARCHED, 'there is no job "bakcup" (did you mean "backup"?)'),
        # To look through so many would delay starts.
        (MOST_SEARCHED + 1, 'there is no job "bakcup"'),
    ],
)
def test_the_job_that_was_meant_is_named_unless_there_are_too_many(count: int, words: str) -> None:
    refused = no_job("bakcup", names(count), {})
    assert (str(refused), refused.exit_code) == (words, 4)


def test_a_job_that_was_removed_is_told_as_such() -> None:
    refused = no_job("backup", {}, {"backup": JobHidden("backup", (), is_all=True)})
    assert str(refused).startswith("backup was removed (taskman remove): ")
