"""What is not measured costs nothing: the settings of the tests themselves."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.no_cover
def test_nothing_is_counted_in_a_test_that_is_not_measured() -> None:
    assert not type(sys.gettrace()).__module__.startswith("coverage")
