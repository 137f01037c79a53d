"""What an order adds to the environment that many share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.executors.orders import Layers

ENVIRONMENTS = st.dictionaries(st.sampled_from("ABCDE"), st.sampled_from("123"))


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_what_an_order_adds_wins_over_what_many_share(shared: dict[str, str], added: dict[str, str]) -> None:
    layers = Layers(shared, added)
    assert layers == shared | added
    assert (len(layers), sorted(layers)) == (len(shared | added), sorted(shared | added))
    assert [name in layers for name in "ABCDE"] == [name in shared | added for name in "ABCDE"]
