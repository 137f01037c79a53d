"""What an order adds to the environment that many share."""

from __future__ import annotations

import marshal

from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.executors.orders import Layers, env_files_of, order_of

ENVIRONMENTS = st.dictionaries(st.sampled_from("ABCDE"), st.sampled_from("123"))


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_what_an_order_adds_wins_over_what_many_share(shared: dict[str, str], added: dict[str, str]) -> None:
    layers = Layers(shared, added)
    assert layers == shared | added
    assert (len(layers), sorted(layers)) == (len(shared | added), sorted(shared | added))
    assert [name in layers for name in "ABCDE"] == [name in shared | added for name in "ABCDE"]


def test_an_order_that_an_earlier_version_has_packed_is_the_same_order() -> None:
    known = {
        "handle": "h",
        "job": "j",
        "task": "t",
        "run": "r",
        "attempt": 2,
        "command": "echo",
        "stdin": b"in",
    }
    same = {
        "env": {"A": "1"},
        "local_env": {"A": "1", "PATH": "/bin"},
        "keys": {"call": "m:f"},
        "user": (7, 8, ()),
    }
    more = {"env_files": ["/f"], "timeout_ns": 10**9}
    told = {"TASKMAN_JOB": "j"}
    plain = known | same | more | {name: same[name] | told for name in ("env", "local_env")}  # type: ignore[operator]
    packed = known | {"packed": marshal.dumps(same | more), "told": told}
    assert order_of(packed) == order_of(plain)
    assert env_files_of(packed) == env_files_of(plain) == ["/f"]
    assert order_of(packed, is_new=True).deadline_ns is not None
