"""Variables that share what they have in common are what plain dictionaries would be."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.variables import Assignments, Variables

NAMES = st.sampled_from("ABCD")
VALUES = st.sampled_from(["", "1", "2"])
TABLES = st.dictionaries(NAMES, VALUES)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_assignments_behave_like_a_dictionary_at_each_point(pairs: list[tuple[str, str]]) -> None:
    assignments = Assignments()
    plain: dict[str, str] = {}
    seen = [(assignments.so_far(), dict(plain))]
    for name, value in pairs:
        assignments.assign(name, value)
        plain[name] = value
        seen.append((assignments.so_far(), dict(plain)))
    for found, expected in seen:
        assert dict(found) == expected
        assert (len(found), found.get("A"), "B" in found) == (
            len(expected),
            expected.get("A"),
            "B" in expected,
        )
    assert [one == other for one, _ in seen for other, _ in seen] == [
        one == other for _, one in seen for _, other in seen
    ]
    assert assignments.pairs() == pairs


def test_what_is_assigned_later_changes_nothing_of_before() -> None:
    assignments = Assignments([("A", "1")])
    first = assignments.so_far()
    assignments.assign("A", "2")
    assignments.assign("B", "")
    last = assignments.so_far()
    assert (dict(first), len(first), dict(last), len(last)) == ({"A": "1"}, 1, {"A": "2", "B": ""}, 2)
    assert (first == first, first == last, last == assignments.so_far()) == (True, False, True)
    assert hash(last) == hash(Variables({"A": "2", "B": ""}))
    assert hash(first) == hash(Variables({"A": "1"}))
    assert "C" not in last


def test_layers_beyond_counting_are_merged() -> None:
    found = Variables({})
    for number in range(100):
        found = Variables({f"A{number}": str(number)}, found)
    assert found == {f"A{number}": str(number) for number in range(100)}


@given(st.lists(TABLES, max_size=12), TABLES)
def test_layers_behave_like_merged_dictionaries(tables: list[dict[str, str]], lowest: dict[str, str]) -> None:
    found: Variables = Variables(lowest)
    plain = dict(lowest)
    for table in tables:
        found = Variables(table, found)
        plain |= table
        assert dict(found) == plain
        assert len(found) == len(plain)
        assert found == Variables(plain) == plain
        assert hash(found) == hash(Variables(plain))
    assert (found == Variables(plain | {"A": "another"})) is False


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), TABLES)
def test_assignments_lie_over_a_table(pairs: list[tuple[str, str]], below: dict[str, str]) -> None:
    assigned = Assignments(pairs).so_far()
    assert Variables(assigned, below) == below | dict(pairs)
    assert Variables(assigned, below) == Variables(below | dict(pairs))
    assert Variables(assigned) == assigned


def test_what_was_assigned_so_far_is_one_thing_until_the_next_assignment() -> None:
    assignments = Assignments([("A", "1")])
    first = assignments.so_far()
    assert assignments.so_far() is first
    assignments.assign("A", "2")
    assert (dict(assignments.so_far()), dict(first)) == ({"A": "2"}, {"A": "1"})


def test_environments_differ_from_other_mappings() -> None:
    assert Variables({"A": "1"}) != {"A": "2"}
    assert Variables({"A": "1"}) != "A=1"
    assert repr(Variables({"A": "1"})) == "Variables({'A': '1'})"


def test_a_name_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Assignments().so_far()["A"]
    with pytest.raises(KeyError):
        Variables({}, {"B": "1"})["A"]


def test_the_same_is_said_in_another_process() -> None:
    assignments = Assignments([("A", "1"), ("B", "2"), ("A", "3")])
    first = assignments.so_far()
    both = Variables({"C": "4"}, Variables(first))
    hash(both)
    assignments.assign("D", "5")
    first_again, both_again, later = pickle.loads(pickle.dumps((first, both, assignments.so_far())))
    assert dict(first_again) == {"A": "3", "B": "2"}
    assert dict(both_again) == {"A": "3", "B": "2", "C": "4"}
    assert dict(later) == {"A": "3", "B": "2", "D": "5"}
    assert both_again == both
    assert pickle.loads(pickle.dumps(Variables({}))) == {}
