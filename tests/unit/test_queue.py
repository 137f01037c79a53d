"""The due queue: a heap that behaves as a sorted list would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.engine.queue import DueQueue

KEYS = st.integers(0, 20)
TIMES = st.integers(0, 30)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, TIMES),
        st.tuples(st.just("remove"), KEYS, TIMES),
        st.tuples(st.just("pop_due"), KEYS, TIMES),
        st.tuples(st.just("pop"), KEYS, TIMES),
    ),
    max_size=300,
)


class SortedList:
    """The same, slow and plain: a list that is sorted at each look."""

    def __init__(self) -> None:
        self.items: list[tuple[int, int, int]] = []
        self.count = 0

    def put(self, key: int, due: int) -> None:
        self.remove(key)
        self.count += 1
        self.items = sorted([*self.items, (due, self.count, key)])

    def remove(self, key: int) -> int | None:
        found = [item for item in self.items if item[2] == key]
        self.items = [item for item in self.items if item[2] != key]
        return found[0][0] if found else None

    def pop_due(self, now: int) -> list[int]:
        due = [item for item in self.items if item[0] <= now]
        self.items = self.items[len(due) :]
        return [key for _, _, key in due]

    def pop(self) -> int | None:
        return self.items.pop(0)[2] if self.items else None


@given(OPERATIONS)
def test_it_is_a_sorted_list_under_any_operations(operations: list[tuple[str, int, int]]) -> None:
    queue: DueQueue[int] = DueQueue()
    model = SortedList()
    for name, key, time in operations:
        match name:
            case "put":
                queue.put(key, time)
                model.put(key, time)
            case "remove":
                assert model.remove(key) == queue.remove(key)
            case "pop_due":
                assert model.pop_due(time) == queue.pop_due(time)
            case _:
                assert model.pop() == queue.pop()
        expected = [(due, key) for due, _, key in model.items]
        assert queue.first(len(expected) + 1) == expected
        assert expected[:3] == queue.first(3)
        assert {key: due for due, key in expected} == {
            key: due for key in range(21) if (due := queue.due_of(key)) is not None
        }
        assert (expected[0][0] if expected else None) == queue.next_due()
        assert len(expected) == len(queue)


def test_equal_times_come_in_the_order_of_being_put_in() -> None:
    queue: DueQueue[str] = DueQueue()
    for key in "bca":
        queue.put(key, 7)
    queue.put("b", 7)
    assert queue.pop_due(7) == ["c", "a", "b"]


def test_put_all_is_many_puts() -> None:
    queue: DueQueue[str] = DueQueue()
    queue.put("old", 5)
    queue.put_all([("late", 9), ("early", 1), ("old", 4)])
    assert queue.pop_due(10) == ["early", "old", "late"]


def test_moving_a_key_often_does_not_make_the_heap_grow() -> None:
    queue: DueQueue[str] = DueQueue()
    queue.put("other", 0)
    for time in range(10_000):
        queue.put("key", time)
    assert len(queue._heap) < 100
    assert "key" in queue
    assert queue.due_of("key") == 9_999


def test_looking_up_touches_no_heap() -> None:
    queue: DueQueue[str] = DueQueue()
    queue.put("key", 3)
    queue._heap.clear()
    assert queue.due_of("key") == 3
    assert queue.due_of("nobody") is None
    assert "nobody" not in queue


def test_keys_that_are_removed_do_not_stay_in_the_heap() -> None:
    queue: DueQueue[int] = DueQueue()
    queue.put_all([(key, key) for key in range(1_000)])
    for key in range(1_000):
        queue.remove(key)
    assert (len(queue), len(queue._heap) <= 64) == (0, True)
