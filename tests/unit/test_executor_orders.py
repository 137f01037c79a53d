"""What an order adds to the environment that many share, and what a worker is told of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.executors.orders import Layers, since

NAMES = st.sampled_from("ABCDE")
ENVIRONMENTS = st.dictionaries(NAMES, st.sampled_from("123"))


def changed(env: dict[str, str], differs: dict[str, str], gone: list[str]) -> dict[str, str]:
    return {name: text for name, text in (env | differs).items() if name not in gone}


@given(ENVIRONMENTS, ENVIRONMENTS, ENVIRONMENTS)
def test_what_two_orders_of_one_environment_differ_in_is_found_in_what_they_add(
    shared: dict[str, str], first: dict[str, str], second: dict[str, str]
) -> None:
    before, after = Layers(shared, first), Layers(shared, second)
    differs, gone = after.since(before)
    assert changed(dict(before), differs, gone) == dict(after) == shared | second
    assert (differs, sorted(gone)) == ((found := since(after, before))[0], sorted(found[1]))


@given(ENVIRONMENTS, ENVIRONMENTS, ENVIRONMENTS, st.booleans())
def test_other_environments_are_compared_as_a_whole(
    shared: dict[str, str], added: dict[str, str], other: dict[str, str], is_layered: bool
) -> None:
    after, before = Layers(shared, added), Layers(other, {}) if is_layered else other
    differs, gone = after.since(before)
    assert changed(dict(before), differs, gone) == shared | added
