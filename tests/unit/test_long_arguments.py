"""What is too long for Linux to give it to a program is refused where it comes in."""

from __future__ import annotations

import pytest

from taskman_cli.core.limits import MOST_ARGUMENT_BYTES, excess
from taskman_cli.core.protocol import RunOnce
from taskman_cli.errors import Refused
from taskman_cli.scheduler.requests.job_changes import _check_once
from taskman_cli.scheduler.requests.lookups import check_variables

FITS = "x" * MOST_ARGUMENT_BYTES
WORDS = "longer than 131,071 bytes, the limit of the system"


@pytest.mark.parametrize(
    ("text", "is_long"),
    [("", False), (FITS, False), (FITS + "x", True), ("\udcff" * 70_000, False), ("é" * 65_536, True)],
    ids=["empty", "fits", "longer", "bytes that are no text", "two bytes each"],
)
def test_bytes_count_and_not_characters(text: str, is_long: bool) -> None:
    assert excess(text) == (WORDS if is_long else "")


@pytest.mark.parametrize("command", [FITS + "x", ["true", FITS + "x"]], ids=["string", "words"])
def test_a_one_off_command_that_is_too_long_is_refused(command: str | list[str]) -> None:
    with pytest.raises(Refused, match=f"once: the command is {WORDS}: put it into a script"):
        _check_once(RunOnce(command=command, cwd="/", env={}, umask=0), "once-1")


def test_a_variable_counts_with_its_name() -> None:
    check_variables({"A": FITS[2:]})
    with pytest.raises(Refused, match=f"env: A is {WORDS}"):
        check_variables({"A": FITS[1:]})
