"""What a keeper says that makes no sense is nobody's hang, and no proof that nothing was begun."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from taskman_cli.executors.base import ConnectionLost
from taskman_cli.executors.daskline import Line
from taskman_cli.executors.dasklink import Broken

_HUGE = 1 << 62


class StandIn:
    """A cluster whose keeper always says the same."""

    def __init__(self, said: Any) -> None:
        self.said = said

    async def ask(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0)
        return self.said


def line(said: Any) -> Line:
    return Line(cast("Any", StandIn(said)), "k", "o", orphan_after_s=60.0)


@pytest.mark.parametrize(
    "said",
    [None, 7, "started", b"x", {}, [], [7], [None], [()], ["started"], [("what",)], [("refused",)],
     [("void", "x")], [("orphaned",)], [(b"started",)], [("started",), ("started",)]],
    ids=repr,
)  # fmt: skip
def test_a_reply_that_makes_no_sense_leaves_open_what_was_done(said: Any) -> None:
    async def play() -> None:
        async with asyncio.timeout(5):
            with pytest.raises(Broken):
                await line(said).ask("start", "h", 1, {})

    asyncio.run(play())


@pytest.mark.parametrize(
    "said",
    [None, 7, "abcd", [7], [("h",)], [("h", 0, _HUGE, None)], [("h", 0, [_HUGE], None)],
     [("h", float("inf"), b"", None)], [("h", 0, "text", None)], [("h", 0, b"", "over")],
     [([], 0, b"", None)]],
    ids=repr,
)  # fmt: skip
def test_news_that_make_no_sense_are_a_lost_connection(said: Any) -> None:
    async def play() -> None:
        end = line(said).follow("h", cast("Any", None), lambda: None)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionLost):
                await end

    asyncio.run(play())


class Heard:
    """What was written of a command's output."""

    def __init__(self, count: int) -> None:
        self.count, self.data = count, b""

    def write(self, data: bytes) -> None:
        self.data += data
        self.count += len(data)


def test_what_was_written_already_and_is_said_again_is_written_once() -> None:
    async def play() -> bytes:
        written = Heard(count=3)
        news = [("h", 0, b"abcde", None), ("h", 2, b"cdefg", {"code": 0})]
        end = line(news).follow("h", cast("Any", written), lambda: None)
        async with asyncio.timeout(5):
            await end
        return written.data

    assert asyncio.run(play()) == b"defg"
