"""Type "ssh": commands on another machine, by the `ssh` program, its configuration and its agent.

An attempt is one session, in which a guard on the other side runs the command (`farside`). Whatever ends the
session ends the command. An end without the guard's word says nothing: then the files there are asked.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors import farside
from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Ended,
    Executor,
    Finding,
    Result,
    Running,
    StartFailed,
    Unknown,
)
from taskman_cli.executors.programs import check_program, in_words
from taskman_cli.executors.sshargs import CONNECT_TIMEOUT_NS, arguments, by_hand
from taskman_cli.executors.sshline import Line
from taskman_cli.executors.sshmasters import NOTHING_CAME, Masters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Standing, Work
    from taskman_cli.executors.surroundings import Surroundings

#: How long the other side may take from the connection to its first word, with a slow login shell.
_FIRST_WORD_S = 15.0
#: After KILL, how long the guard may take to tell the end; then the session is cut, which ends it too.
_KILLED_S = 10.0
#: Clean-ups that come within this time are one session.
_GATHER_S = 0.1
_MOST_LEFT = 1000
#: What shells say when there are no more processes, or no memory.
_WANTS = ("Cannot fork", "fork: ", "Resource temporarily unavailable", "Cannot allocate memory")
#: What ssh says if the other side cannot be reached now. Whoever is refused there, or unknown, stays so.
_AWAY = (
    "Connection refused", "Connection reset", "Connection timed out", "Connection closed by",
    "Operation timed out", "No route to host", "Network is unreachable", "Host is down",
    "Temporary failure in name resolution", "kex_exchange_identification", "banner exchange", NOTHING_CAME,
)  # fmt: skip
_LOST_LINE = "the connection broke, and its guard there ended it"


def make(definition: ExecutorDefinition, around: Surroundings) -> SshExecutor:
    """Make an executor; raises ValueError if its settings are wrong."""
    words = arguments(definition.settings)
    check_program(words[0], around.inherited())
    return SshExecutor(definition, around)


class SshExecutor(Executor):
    """Runs commands on one host as one user."""

    loses_output = True

    def __init__(self, definition: ExecutorDefinition, around: Surroundings) -> None:
        self._settings = definition.settings
        self._environment = around.inherited()
        self._directory = str(definition.settings.get("directory", ""))
        timeout_s = definition.settings.get("connect_timeout_ns", CONNECT_TIMEOUT_NS) / 1e9
        self._within_s = timeout_s + _FIRST_WORD_S
        self._masters = Masters(self._settings, self._environment, around.directory, within_s=self._within_s)
        self._is_shared = bool(definition.settings.get("multiplex", True))
        self._lines: dict[str, Line] = {}
        #: Attempts that have ended and are not forgotten yet.
        self._over: set[str] = set()
        self._leaving: list[tuple[str, asyncio.Future[None]]] = []
        #: What could not be removed there, and is tried again with the next.
        self._left: list[str] = []
        self._cleaner: asyncio.Task[None] | None = None

    @property
    def _host(self) -> str:
        return str(self._settings["host"])

    @asynccontextmanager
    async def _line(self, nonce: str) -> AsyncIterator[Line]:
        """Give a conversation of its own, over a connection that is shared. Raises StartFailed."""
        if not self._is_shared:
            line = await self._open("", nonce)
            try:
                yield line
            finally:
                await line.close()
            return
        async with self._masters.lease() as path:
            line = await self._open(path, nonce)
            try:
                yield line
            finally:
                await line.close()

    async def _open(self, path: str, nonce: str) -> Line:
        argv = arguments(self._settings, control_path=path)
        return await Line.open(argv, self._environment, farside.marker_of(nonce))

    # --- an attempt ---

    async def run(self, work: Work) -> Result:
        """Begin an attempt on the other side, and follow it to its end."""
        nonce = secrets.token_hex(16)
        text = farside.start(work.order, nonce=nonce, directory=self._directory)
        try:
            async with self._line(nonce) as line:
                line.send(text)
                word = await self._first_word(line)
                if word != "ready":
                    raise await _refusal(word, line)
                line.send(b"go\n")
                return await self._follow(work, line)
        except StartFailed as error:
            is_away = any(words in str(error) for words in _AWAY)
            raise StartFailed(f"{self._host}: {error}", is_transient=error.is_transient or is_away) from None

    async def _first_word(self, line: Line) -> str:
        try:
            async with asyncio.timeout(self._within_s):
                word = await line.reply()
        except TimeoutError:
            raise StartFailed(
                f"connected, and heard nothing for {self._within_s:g} s: "
                "does a start file of the shell there read its input?"
            ) from None
        if word is None:
            raise _failure(await line.words())
        return word

    async def _follow(self, work: Work, line: Line) -> Result:
        """Pass on output until the guard tells the end."""
        handle = work.order.handle
        self._lines[handle] = line
        early = b""
        try:
            while (item := await line.receive()) is not None:
                if isinstance(item, bytes):
                    if work.is_started:
                        work.write(item)
                    else:
                        early = (early + item)[-4096:]
                elif item == "started":
                    work.started()
                elif item.startswith("refused"):
                    raise await _refusal(item, line, early)
                elif item == "absent":
                    raise ConnectionLost(f"{self._host}: its guard was killed")
                elif item.startswith("end "):
                    if not work.is_started:
                        raise _failure(in_words(early) or "its guard could not start it")
                    return self._ended(handle, item)
            raise ConnectionLost(f"{self._host}: {await line.words()}")
        finally:
            if self._lines.get(handle) is line:
                del self._lines[handle]

    def _ended(self, handle: str, item: str) -> Result:
        standing = _standing(item)
        if isinstance(standing, Ended):
            self._over.add(handle)
            return standing.result
        raise ConnectionLost(f"{self._host}: {_LOST_LINE}")

    async def signal(self, work: Work, number: int) -> None:
        """Send a signal to the command's group, through its guard."""
        if work.order.handle in self._over:
            return
        line = self._lines.get(work.order.handle)
        if line is None:
            raise ConnectionLost(f"{self._host}: not connected")
        line.send(farside.signal_line(number))
        if number == signal.SIGKILL:
            asyncio.get_running_loop().call_later(_KILLED_S, self._cut, work.order.handle, line)

    def _cut(self, handle: str, line: Line) -> None:
        if self._lines.get(handle) is line:
            line.cut()

    async def probe(self, order: Order) -> Standing:
        """Ask the files on the other side."""
        try:
            word = await self._asked(
                lambda nonce, directory: farside.probe(order.handle, nonce=nonce, directory=directory)
            )
        except StartFailed as error:
            return Unknown(f"{self._host}: {error}")
        return _standing(word)

    async def _asked(self, text: Callable[[str, str], bytes]) -> str:
        """Have a script run on the other side that says one word; raises StartFailed."""
        nonce = secrets.token_hex(16)
        async with self._line(nonce) as line:
            line.send(text(nonce, self._directory))
            return await self._first_word(line)

    async def attach(self, work: Work) -> Result:
        """Follow an attempt whose connection was lost; what went into that one is lost."""
        nonce = secrets.token_hex(16)
        try:
            async with self._line(nonce) as line:
                line.send(farside.attach(work.order.handle, nonce=nonce, directory=self._directory))
                return await self._follow(work, line)
        except StartFailed as error:
            raise ConnectionLost(f"{self._host}: {error}") from None

    async def forget(self, order: Order) -> None:
        """Remove the directory of an attempt; those of many are removed together."""
        self._over.discard(order.handle)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leaving.append((order.handle, done))
        if self._cleaner is None or self._cleaner.done():
            self._cleaner = asyncio.ensure_future(self._clean())
        await done

    async def _clean(self) -> None:
        while self._leaving:
            await asyncio.sleep(_GATHER_S)
            leaving, self._leaving = self._leaving, []
            # With those that could not be removed before.
            handles = [*dict.fromkeys([*self._left, *(handle for handle, _ in leaving)])][-_MOST_LEFT:]
            error: Exception | None = None
            try:
                await self._asked(
                    lambda nonce, directory, handles=handles: farside.forget(
                        handles, nonce=nonce, directory=directory
                    )  # type: ignore[misc]
                )
            except (StartFailed, ValueError) as failure:
                error = ConnectionLost(f"{self._host}: {failure}")
            self._left = handles if error else []
            for _, done in leaving:
                if not done.done():
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)

    async def check(self) -> tuple[Finding, ...]:
        """Connect, and look whether attempts could be kept there."""
        try:
            word = await self._asked(lambda nonce, directory: farside.check(nonce=nonce, directory=directory))
        except StartFailed as error:
            advice = f"try it with: {by_hand(self._settings)}"
            return (Finding(is_good=False, words=f"{self._host}: {error}", advice=advice),)
        verdict, _, words = printable(word).partition(" ")
        return (Finding(is_good=verdict == "yes", words=f"{self._host}: {words}"),)

    async def close(self) -> None:
        """End all sessions: the guards kill what they run."""
        for line in [*self._lines.values()]:
            line.cut()
        if self._cleaner is not None:
            self._cleaner.cancel()
            with suppress(asyncio.CancelledError):
                await self._cleaner
        await self._masters.close()


async def _refusal(word: str, line: Line, early: bytes = b"") -> StartFailed:
    """Return why nothing was started: in words of the guard, or of what ended it or the command's shell.

    That is when nothing is left there.
    """
    verb, _, why = printable(word).partition(" ")
    if verb != "refused":
        return StartFailed(f"an answer that makes no sense: {verb}")
    words = await line.words()
    return _failure(why or in_words(early) or words)


def _failure(words: str) -> StartFailed:
    """Return why nothing was started; a want of processes or memory may soon be over."""
    return StartFailed(words, is_transient=any(want in words for want in _WANTS))


def _standing(word: str) -> Standing:
    """Return what a word of the other side says of an attempt."""
    match word.split():
        case ["running"]:
            return Running()
        case ["absent"]:
            return Absent("there is no trace of its end on the other side")
        case ["end", "exit", code] if code.isdecimal():
            return Ended(Result(exit_code=int(code)))
        case ["end", "signal", number, *name] if number.isdecimal():
            return Ended(Result(signal=_number(name[0] if name else "", int(number))))
        case ["end", "cut", *_]:
            return Absent(_LOST_LINE)
        case ["end", "none", *_]:
            return Absent("its guard could not see its end")
    return Unknown(f"an answer that makes no sense: {printable(word)}")


def _number(name: str, number: int) -> int:
    """Return the number that a signal of this name has here."""
    known: Any = getattr(signal, f"SIG{name.removeprefix('SIG')}", None)
    return int(known) if isinstance(known, signal.Signals) else number
