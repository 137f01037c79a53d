"""Which worker of a cluster a command goes to, what a keeper notes, and how orders travel."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from taskman_cli.executors.base import Order, Result, StartFailed
from taskman_cli.executors.daskcluster import FarWorker
from taskman_cli.executors.daskorder import result_of, spec_of
from taskman_cli.executors.daskplaces import Known, Places
from taskman_cli.executors.keeperbooks import CalledOff, Owner

if TYPE_CHECKING:
    from taskman_cli.executors.daskcluster import Cluster
    from taskman_cli.executors.keptcommand import KeptCommand


@dataclass
class StandIn:
    """A cluster that is asked for nothing."""

    workers: dict[str, FarWorker] = field(default_factory=dict)
    trouble: str = ""
    address: str = "tls://far:8786"


def worker(name: str, threads: int = 1, **more: Any) -> FarWorker:
    return FarWorker(
        f"tls://{name}:1", name, threads, **{"keeper": "" if "trouble" in more else name, **more}
    )


def places(*workers: FarWorker, trouble: str = "", resources: tuple[str, ...] = ()) -> Places:
    cluster = StandIn({one.address: one for one in workers}, trouble)
    return Places(cast("Cluster", cluster), resources)


def best(some: Places, **needs: int) -> str:
    found = some.best(needs)
    return found.name if found else ""


def test_commands_are_spread_by_the_threads_of_workers() -> None:
    some = places(worker("a", threads=2), worker("b", threads=4))
    chosen = []
    for number in range(6):
        name = best(some)
        some.take(str(number), name, {})
        chosen.append(name)
    assert (chosen.count("a"), chosen.count("b")) == (2, 4)
    assert some.leave("0") == chosen[0]
    assert best(some) == chosen[0]


def test_a_worker_holds_no_more_than_it_declares() -> None:
    some = places(worker("a", threads=9, resources={"gpu": 2.0}), worker("b"))
    for number in range(2):
        assert best(some, gpu=1) == "a"
        some.take(str(number), "a", {"gpu": 1})
    assert best(some, gpu=1) == ""
    # What no worker declares is not asked of any.
    assert best(some, db=1) == "b"
    some.leave("0")
    assert best(some, gpu=1) == "a"


@pytest.mark.parametrize(
    ("some", "needs", "words", "is_transient"),
    [
        (places(trouble="it is away"), {}, "it is away", True),
        (places(), {}, "no worker is at tls://far:8786", True),
        (places(worker("a", is_running=False)), {}, "no worker is at tls://far:8786", True),
        (
            places(worker("a", trouble="no answer"), worker("b", trouble="too old", is_unfit=True)),
            {},
            "no worker can be used: worker a: no answer; worker b: too old",
            True,
        ),
        (
            places(worker("a", trouble="too old", is_unfit=True)),
            {},
            "no worker can be used: worker a: too old",
            False,
        ),
        (
            places(worker("a", resources={"gpu": 2.0})),
            {"gpu": 3},
            "no worker has gpu = 3: the most is 2",
            False,
        ),
        (
            places(worker("a"), resources=("gpu",)),
            {"gpu": 1},
            "no worker has gpu = 1: none that is there declares it",
            True,
        ),
    ],
    ids=["away", "none", "paused", "trouble", "unfit", "more than any", "asked for"],
)
def test_why_nothing_can_be_started(
    some: Places, needs: dict[str, int], words: str, is_transient: bool
) -> None:
    with pytest.raises(StartFailed) as caught:
        some.best(needs)
    assert (str(caught.value), caught.value.is_transient) == (words, is_transient)


def test_a_worker_that_was_started_again_holds_what_its_last_keeper_still_runs() -> None:
    again = worker("a", resources={"gpu": 2}, keeper="new", keepers=frozenset({"new", "old", "b"}))
    some = places(again, worker("b", keepers=frozenset({"new", "old", "b"})))
    some.take("h1", "old", {"gpu": 1})
    assert best(some, gpu=1) == "a"
    some.take("h2", "b", {"gpu": 1})
    assert best(some, gpu=1) == "a"
    some.take("h3", "new", {"gpu": 1})
    assert best(some, gpu=1) == ""
    some.leave("h1")
    assert best(some, gpu=1) == "a"


def test_a_resource_that_was_declared_once_is_asked_for_when_its_worker_is_gone() -> None:
    cluster = StandIn({"a": worker("a", resources={"gpu": 1.0}), "b": worker("b")})
    some = Places(cast("Cluster", cluster), ())
    assert best(some, gpu=1) == "a"
    del cluster.workers["a"]
    with pytest.raises(StartFailed, match="none that is there declares it"):
        some.best({"gpu": 1})


def test_a_keeper_that_is_gone_for_long_enough_is_not_asked_for_any_more() -> None:
    known = Known(Path("/nonexistent"))
    known._since_s = {"a": None, "b": None}
    known.look({"a"}, set(), 10.0, gone_s=5.0)
    known.look({"a"}, {"b"}, 16.0, gone_s=5.0)
    assert known.names() == {"a", "b"}
    known.look({"a", "b"}, set(), 17.0, gone_s=5.0)
    known.look({"a"}, set(), 18.0, gone_s=5.0)
    known.look({"a"}, set(), 23.5, gone_s=5.0)
    assert known.names() == {"a"}


def test_after_a_start_of_the_machine_the_next_process_but_one_is_not_sure_of_what_was_before(
    tmp_path: Path,
) -> None:
    """Notes of before may be gone with the machine: what it is asked about is noted, then starts are."""
    first = Known(tmp_path)
    asyncio.run(first.add("a"))
    (tmp_path / "keepers.json").write_text('{"boot": "before", "keepers": ["a"]}')
    assert [Known(tmp_path).is_sure, Known(tmp_path).is_sure] == [False, False]
    second = Known(tmp_path)
    second.note_doubt("h")
    asyncio.run(second.add("a"))
    third = Known(tmp_path)
    third.note_doubt("g")
    assert (third.is_sure, third.names()) == (True, {"a"})
    assert [third.count_path(handle).exists() for handle in ("h", "g")] == [True, False]


def test_a_start_that_was_called_off_stays_so_for_an_hour() -> None:
    off = CalledOff()
    off.note("h", 2, 0.0)
    off.note("h", 1, 0.0)
    assert off.up_to("h") == 2
    # By an executor that does not know how often an earlier one has asked.
    off.note("h", 0, 0.0)
    assert off.up_to("h") == 1002
    off.note("other", 1, 3601.0)
    assert off.up_to("h") == 0
    off.drop("other")
    assert off.up_to("other") == 0


class Command:
    """A command with output to tell."""

    def __init__(self, output: bytes, end: dict[str, Any] | None = None) -> None:
        self.output, self.end = output, end
        self.is_followed = True

    @property
    def has_news(self) -> bool:
        return bool(self.output) or self.end is not None

    @property
    def kept_bytes(self) -> int:
        return len(self.output)

    def piece(self, most_bytes: int) -> tuple[int, bytes]:
        return 0, self.output[:most_bytes]


def news(most_bytes: int, **commands: Command) -> list[tuple[Any, ...]]:
    owner = Owner(0.0)
    owner.commands = cast("dict[str, KeptCommand]", commands)
    return owner.news(most_bytes)


def test_a_flood_of_one_command_leaves_room_for_the_others() -> None:
    told = news(30, flood=Command(b"x" * 100), short=Command(b"ab", {"exit_code": 0}), done=Command(b"", {}))
    assert told == [
        ("done", 0, b"", {}),
        ("short", 0, b"ab", {"exit_code": 0}),
        ("flood", 0, b"x" * 28, None),
    ]


def test_an_end_is_told_with_the_last_of_the_output_and_once() -> None:
    command = Command(b"abcdef", {"exit_code": 3})
    assert news(4, one=command) == [("one", 0, b"abcd", None)]
    assert news(9, one=command) == [("one", 0, b"abcdef", {"exit_code": 3})]
    assert news(9, one=command) == []


def order(command: str | tuple[str, ...] | None, **more: Any) -> Order:
    return Order(handle="h", job="j", task="main", run="r", attempt=1, command=command, **more)


def test_an_order_travels_as_bytes() -> None:
    odd = "é\udcff"
    data = "é".encode() + b"\xff"
    assert spec_of(order(("a", odd), env={"A": odd}, cwd="/x", stdin=b"in", umask=0o22, nice=5)) == {
        "argv": [b"a", data],
        "env": [(b"A", data)],
        "cwd": b"/x",
        "stdin": b"in",
        "umask": 0o22,
        "nice": 5,
    }
    assert spec_of(order("a | b"))["argv"] == [b"/bin/sh", b"-c", b"a | b"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (order(None), "there is no command that a worker could run"),
        (order("a\0b"), "NUL characters cannot be passed to a command"),
        (order("\ud800"), "its settings have characters that are no text"),
        (order("a", env={"A=B": "x"}), 'there cannot be a variable "A=B": give it another name'),
    ],
    ids=["none", "NUL", "no text", "variable"],
)
def test_what_cannot_be_said_is_refused_in_words(bad: Order, words: str) -> None:
    with pytest.raises(StartFailed) as caught:
        spec_of(bad)
    assert str(caught.value) == words


def test_an_end_that_makes_no_sense_is_a_failure_in_words() -> None:
    assert result_of({"exit_code": 3, "signal": None, "cpu_s": 0.5, "peak_rss_bytes": 7}) == Result(
        exit_code=3, cpu_s=0.5, peak_rss_bytes=7
    )
    assert result_of({"exit_code": "x"}).error.startswith("its end makes no sense: ")
