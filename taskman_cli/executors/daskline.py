"""All that is said to one keeper: questions, several at once, and a standing question for news."""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import ConnectionLost
from taskman_cli.executors.dasklink import Broken, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.executors.daskcluster import Cluster
    from taskman_cli.executors.written import Written

#: So many requests are sent together.
_MOST_TOGETHER = 64
#: How long a question for news waits for some.
_WAIT_S = 5.0
#: How much output an answer has at most, at first; then as much as takes the time that follows.
_FIRST_BYTES, _FEWEST_BYTES, _MOST_BYTES = 64 << 10, 8 << 10, 1 << 20
_ANSWER_TAKES_S = 0.2


class _Followed(NamedTuple):
    """A command whose output is passed on."""

    written: Written
    on_news: Callable[[], None]
    end: asyncio.Future[dict[str, Any]]


class Line:
    """The conversation with one keeper."""

    def __init__(self, cluster: Cluster, keeper: str, owner: str, *, orphan_after_s: float) -> None:
        self.keeper = keeper
        self._cluster = cluster
        self._who = owner, orphan_after_s
        self._wait_s = min(_WAIT_S, orphan_after_s / 4)
        self._requests: list[tuple[Sequence[Any], asyncio.Future[tuple[Any, ...]]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None
        self._followed: dict[str, _Followed] = {}
        self._most_bytes = _FIRST_BYTES

    async def ask(self, *request: Any) -> tuple[Any, ...]:
        """Have a request carried out, after those before it. Raises Unreachable, Broken."""
        reply: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
        self._requests.append((request, reply))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._send())
        return await reply

    async def _send(self) -> None:
        """Send what waits, all of it together, as long as something does."""
        while self._requests:
            sent, self._requests = self._requests[:_MOST_TOGETHER], self._requests[_MOST_TOGETHER:]
            failure: Unreachable | Broken = Broken("taskman closed the connection")
            replies: list[tuple[Any, ...]] = []
            try:
                question = (*self._who, [request for request, _ in sent])
                replies = _replies(await self._cluster.ask(self.keeper, "ask", question), len(sent))
            except (Unreachable, Broken) as error:
                failure = error
            finally:
                for position, (_, reply) in enumerate(sent):
                    if replies and not reply.done():
                        reply.set_result(replies[position])
                    else:
                        _fail(reply, type(failure)(str(failure)))

    def follow(
        self, handle: str, written: Written, on_news: Callable[[], None]
    ) -> asyncio.Future[dict[str, Any]]:
        """Write the output of a command from now on, until its end, which is what the future gets.

        `on_news` is called before anything is written. If the keeper cannot be asked any more, the future
        gets ConnectionLost.
        """
        end: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._followed[handle] = _Followed(written, on_news, end)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.ensure_future(self._poll())
        return end

    def unfollow(self, handle: str) -> None:
        """Write no more of a command's output."""
        self._followed.pop(handle, None)

    async def _poll(self) -> None:
        """Ask for news for as long as a command is followed."""
        loop = asyncio.get_running_loop()
        arrived: dict[str, int] = {}
        try:
            while self._followed:
                began_s = loop.time()
                question = (*self._who, list(arrived.items()), self._most_bytes, self._wait_s)
                news = _news(await self._cluster.ask(self.keeper, "poll", question, wait_s=self._wait_s))
                arrived = {}
                for handle, offset, data, end in news:
                    self._take(handle, offset, data, end)
                    arrived[handle] = offset + len(data)
                self._adapt(sum(len(data) for _, _, data, _ in news), loop.time() - began_s)
        except (Unreachable, Broken) as error:
            self._lose(str(error))

    def _take(self, handle: str, offset: int, data: bytes, end: dict[str, Any] | None) -> None:
        if (followed := self._followed.get(handle)) is None:
            return
        followed.on_news()
        followed.written.write(data[max(0, followed.written.count - offset) :])
        if end is not None:
            del self._followed[handle]
            if not followed.end.done():
                followed.end.set_result(end)

    def _adapt(self, count: int, took_s: float) -> None:
        """Ask for as much as comes in a moment: what else is said on this line need not wait longer."""
        if count >= self._most_bytes // 2:
            fitting = int(count * _ANSWER_TAKES_S / max(took_s, 0.001))
            self._most_bytes = min(max(fitting, _FEWEST_BYTES), self._most_bytes * 2, _MOST_BYTES)

    def _lose(self, why: str) -> None:
        followed, self._followed = self._followed, {}
        for one in followed.values():
            _fail(one.end, ConnectionLost(why))

    async def close(self) -> None:
        """Ask nothing any more; what is followed is lost sight of."""
        for task in (self._poller, self._sender):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for _, reply in self._requests:
            _fail(reply, Unreachable("taskman closed the connection"))
        self._requests.clear()
        self._lose("taskman closed the connection")


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever waits for it has perhaps been cancelled


def _replies(said: Any, count: int) -> list[tuple[Any, ...]]:
    """Return a keeper's replies to so many requests. Raises Broken if they are none."""
    if not isinstance(said, list | tuple) or len(said) != count:
        raise Broken("the keeper does not answer each request")
    return [_reply(one) for one in said]


def _reply(said: Any) -> tuple[Any, ...]:
    match said:
        case (
            ["started" | "known" | "running" | "absent" | "done" | "strange"]
            | ["refused", str(), bool()]
            | ["void", int()]
            | ["orphaned", str()]
        ):
            return tuple(said)
    raise Broken(f"the keeper says what makes no sense: {printable(reprlib.repr(said))}")


def _news(said: Any) -> list[tuple[str, int, bytes, dict[str, Any] | None]]:
    """Return what a keeper tells of commands. Raises Broken if it is none."""
    news: list[tuple[str, int, bytes, dict[str, Any] | None]] = []
    for one in said if isinstance(said, list | tuple) else [said]:
        match one:
            case [
                str(handle),
                int(offset),
                bytes() | bytearray() | memoryview() as data,
                dict() | None as end,
            ]:
                news.append((handle, offset, bytes(data), end))
            case _:
                raise Broken(f"the keeper says what makes no sense: {printable(reprlib.repr(one))}")
    return news
