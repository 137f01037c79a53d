"""Two players are alike if they would go on in the same way: whatever is otherwise in one of them is seen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.engine.runs import Attempt, Run
from taskman_cli.core.model import Execution, Exit, Task
from taskman_cli.simulate import likeness
from taskman_cli.simulate.likeness import digest
from taskman_cli.simulate.player import Player
from taskman_cli.simulate.work import Kind
from tests.unit.test_simulate_stretches import HOUR_NS, random_play

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A play with whatever the engine has: what waits, runs, is parked and retried, under `auto`.
SEEDS = (3, 5, 11)


def player(seed: int) -> Player:
    made = Player(*random_play(seed))
    made.run(to_ns=2 * HOUR_NS)
    made.cut()
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_play_is_like_itself(seed: int) -> None:
    assert digest(player(seed)) == digest(player(seed))


def test_a_turn_later_it_is_not() -> None:
    later = player(SEEDS[0])
    later.run(turns=1)
    later.cut()
    assert digest(later) != digest(player(SEEDS[0]))


def test_what_was_counted_is_no_part_of_the_state() -> None:
    """So players are to be cut before they are compared."""
    one = player(SEEDS[0])
    before = digest(one)
    one.tally.attempts += 1
    assert digest(one) != before
    one.cut()
    assert digest(one) == before


def numbers(root: object) -> Iterator[tuple[object, str]]:
    """Yield each attribute that is a number, or may be one, of all that belongs to a player."""
    seen, waiting = {id(root)}, [root]
    while waiting:
        one: Any = waiting.pop()
        if isinstance(one, (Enum, *likeness._GIVEN, DueQueue)):
            continue
        module = type(one).__module__
        if isinstance(one, dict):
            parts = [*one, *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            parts = list(one)
        elif module.startswith("taskman_cli.") and not module.startswith(likeness._GIVEN_MODULES):
            names = {name for base in type(one).__mro__ for name in base.__dict__.get("__slots__", ())}
            names |= set(getattr(one, "__dict__", ()))
            parts = []
            for name in sorted(names):
                value = getattr(one, name, None)
                if value is None or isinstance(value, (bool, int, float)):
                    yield one, name
                parts.append(value)
        else:
            continue
        for part in parts:
            if id(part) not in seen and not isinstance(part, (str, int, float, bytes)):
                seen.add(id(part))
                waiting.append(part)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_number_is_otherwise_is_seen_but_for_what_is_left_out_by_name(seed: int) -> None:
    one = player(seed)
    before, tried = digest(one), 0
    unseen = set[tuple[type, str]]()
    for owner, name in list(numbers(one)):
        value = getattr(owner, name)
        try:
            setattr(owner, name, -7)
        except (AttributeError, TypeError):
            continue  # a tuple, or a property
        tried += 1
        if digest(one) == before:
            unseen.add((type(owner), name))
        setattr(owner, name, value)
    assert digest(one) == before
    assert tried > 200
    left_out = {(kind, name) for kind, names in likeness._LEFT_OUT.items() for name in names}
    assert [
        f"{kind.__name__}.{name}"
        for kind, name in unseen
        if not any((base, name) in left_out for base in kind.__mro__)
    ] == []


@dataclass
class Holder:
    """Anything that a player might have."""

    held: object


def lines_of(held: object) -> list[bytes]:
    one = player(SEEDS[0])
    one.commands.hardware = Holder(held)  # type: ignore[assignment]
    return list(likeness._State(one).lines())


JOB = random_play(SEEDS[0])[0].jobs[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Kind.CPU, Kind.SLEEP),
        (Exit(exit_code=0), Exit(exit_code=1)),
        (Task("a", "true", Execution()), Task("b", "true", Execution())),
        (JOB, replace(JOB, id="another")),
        ({"a": 1}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (["a", {}, 1], ["a", {1: 1}]),
        ((1, (2,)), ((1, 2),)),
        (1, True),
        (1, 1.0),
        ("1", 1),
        (b"1", "1"),
        ({"a", "b"}, {"a", "c"}),
        (deque([1]), [1]),
        (partial(int, 1), partial(int, 2)),
        ("".join, ",".join),
    ],
    ids=[
        "member",
        "exit",
        "task",
        "job",
        "value",
        "order",
        "extent",
        "depth",
        "bool",
        "float",
        "text",
        "bytes",
        "set",
        "deque",
        "partial",
        "bound",
    ],
)
def test_what_is_otherwise_is_seen(one: object, other: object) -> None:
    assert lines_of(one) != lines_of(other)
    assert lines_of(one) == lines_of(one)


@pytest.mark.parametrize("kind", [Attempt, Run])
def test_whether_one_has_a_place_among_those_that_wait_is_seen(kind: type) -> None:
    one = player(SEEDS[0])
    state = likeness._State(one)
    last = SimpleNamespace(place=one.engine.pool._ready._arrivals)
    assert last.place > 0
    place = state._instead[kind]
    assert place(last) != place(SimpleNamespace(place=0))


def test_the_order_of_what_waits_is_seen() -> None:
    one, other = DueQueue[str](), DueQueue[str]()
    one.put("a", SECOND_NS)
    one.put("b", SECOND_NS)
    other.put("b", SECOND_NS)
    other.put("a", SECOND_NS)
    assert likeness._due(one) != likeness._due(other)
    other.put("b", SECOND_NS)  # it goes last
    assert likeness._due(one) == likeness._due(other)
