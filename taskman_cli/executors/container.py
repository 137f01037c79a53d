"""Type "container": commands in containers of `docker` or `podman`, by their programs.

A container is made, started with us attached to it, and removed when its end is on record. It is not our
child: it goes on when we die, and is found again by its label.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors import containerargs, programs
from taskman_cli.executors.base import (
    Absent,
    CannotStop,
    ConnectionLost,
    Ended,
    Executor,
    Finding,
    Running,
    StartFailed,
    Unknown,
)
from taskman_cli.executors.containeroutput import Output, feed
from taskman_cli.executors.containerwords import is_away, is_paused, is_removed, is_unreachable
from taskman_cli.executors.orders import is_want
from taskman_cli.executors.written import written_so_far

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Result, Standing, Work
    from taskman_cli.executors.surroundings import Surroundings

#: How long the engine may take to answer a question.
_ANSWER_S = 20.0
#: What an engine does with all processes of a container.
_OF_ALL: dict[int, tuple[str, ...]] = {signal.SIGSTOP: ("pause",), signal.SIGCONT: ("unpause",)}
#: How long it may take to make a container, the download of its image included, if the job file does not say.
_CREATE_S = 600.0
_MOST_LEFT = 100
#: What conmon makes in its working directory, which is that of `podman start`; podman itself misses it.
_OOM = "oom"
#: The exit code of what was ended by KILL.
_KILLED = 137
#: Pauses between two looks whether a container has started; the last is repeated.
_LOOKS_S = (0.05, 0.1, 0.2, 0.5, 1.0)


def make(definition: ExecutorDefinition, around: Surroundings) -> ContainerExecutor:
    """Make an executor; raises ValueError if its settings are wrong."""
    settings = definition.settings
    image = str(settings.get("image", ""))
    if not image or image.startswith("-") or not image.isprintable():
        raise ValueError(f"{image!r} is not the name of an image")
    if settings.get("engine", "docker") not in containerargs.ENGINES:
        raise ValueError(f"engine must be one of {', '.join(containerargs.ENGINES)}")
    programs.check_program(containerargs.program(settings)[0], around.inherited())
    return ContainerExecutor(definition, around)


class ContainerExecutor(Executor):
    """Runs each attempt in a container of its own, of one image."""

    def __init__(self, definition: ExecutorDefinition, around: Surroundings) -> None:
        self._settings = definition.settings
        self._engine = str(definition.settings.get("engine", "docker"))
        self._memory: int | None = definition.settings.get("memory")
        self._create_s = float(definition.settings.get("create_timeout_ns", _CREATE_S * 1e9)) / 1e9
        self._labels = {"instance": around.instance, "ledger": around.ledger, "executor": definition.name}
        self._environment = around.inherited()
        self._directory: Path = around.directory
        for left in self._directory.glob("*.env"):  # of a process of ours that was killed
            with suppress(OSError):
                left.unlink()
        self._sent: dict[str, set[int]] = {}
        #: Attempts that were followed to their end, and are not forgotten yet.
        self._over: set[str] = set()
        #: The containers that could not be removed, which is tried again with the next.
        self._left: list[str] = []
        self._clients: set[Process] = set()
        self._is_closing = False
        #: What is being tidied up.
        self._chores: set[asyncio.Task[Any]] = set()

    # --- an attempt ---

    async def run(self, work: Work) -> Result:
        """Make and start a container, and follow it to its end."""
        order = work.order
        await self._create(order)
        try:
            place = _made_place(self._place(order))
            client = await self._client(order, "start", "--attach", *self._stdin_flag(order), cwd=place)
        except (StartFailed, asyncio.CancelledError):
            await asyncio.shield(self._do(self._undo(order)))  # the next try makes one of this name
            raise
        return await self._follow(work, client, skip=0)

    async def attach(self, work: Work) -> Result:
        """Follow a container that runs, from the first byte of its output that was not written yet."""
        work.started()
        skip = written_so_far(self._count_path(work.order))
        try:
            client = await self._client(work.order, "logs", "--follow")
        except StartFailed as error:
            raise ConnectionLost(str(error)) from None
        return await self._follow(work, client, skip=skip)

    async def _client(self, order: Order, *words: str, cwd: Path | None = None) -> Process:
        """Start the program that gives the container's output; raises StartFailed."""
        argv = [*containerargs.program(self._settings), *words, containerargs.name_of(order)]
        return await programs.start(argv, self._environment, is_talking=order.stdin is not None, cwd=cwd)

    def _stdin_flag(self, order: Order) -> list[str]:
        return ["--interactive"] if order.stdin is not None else []

    async def _create(self, order: Order) -> None:
        """Make the container; raises StartFailed."""
        environment = containerargs.environment_of(order, engine=self._engine)
        base = self._directory / order.handle
        env_file, cid_file = base.with_name(base.name + ".env"), base.with_name(base.name + ".cid")
        told = {"job": order.job, "task": order.task, "run": order.run, "attempt": str(order.attempt)}
        argv = containerargs.create(
            self._settings,
            order,
            inherited=environment.inherited.keys(),
            env_file=str(env_file),
            cid_file=str(cid_file),
            labels={"handle": order.handle, **self._labels, **told},
        )
        making = asyncio.ensure_future(self._made(argv, env_file, cid_file, environment))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            # The engine may make it even now: that is awaited, and then undone.
            self._do(self._unmake(making, order))
            raise

    async def _made(
        self, argv: list[str], env_file: Path, cid_file: Path, environment: containerargs.Environment
    ) -> None:
        try:
            await asyncio.to_thread(_write_private, env_file, environment.file)
            with suppress(OSError):
                cid_file.unlink()  # that of an earlier try
            answer = await programs.ask(
                argv, {**self._environment, **environment.inherited}, within_s=self._create_s
            )
        except TimeoutError:
            raise StartFailed(
                f"{self._engine} did not make a container within {self._create_s:g} s"
            ) from None
        except OSError as error:
            raise StartFailed(f"{error.strerror}: {env_file}", is_transient=is_want(error)) from None
        finally:
            for path in (env_file, cid_file):
                with suppress(OSError):
                    path.unlink()
        if answer.code != 0:
            raise StartFailed(f"{self._engine}: {answer.words()}", is_transient=is_away(answer))

    async def _unmake(self, making: asyncio.Future[None], order: Order) -> None:
        with suppress(StartFailed):
            await making
        await self._undo(order)

    async def _undo(self, order: Order) -> None:
        """Remove the container of an attempt that was given up; if that fails, with the next one."""
        with suppress(ConnectionLost):
            await self.forget(order)

    def _do(self, chore: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    async def _follow(self, work: Work, client: Process, *, skip: int) -> Result:
        """Take the container's output to its end, and then ask how it ended."""
        order = work.order
        self._clients.add(client)
        self._sent.setdefault(order.handle, set())
        output = Output(work, self._count_path(order), skip=skip)
        is_given_up = False
        try:
            async with asyncio.TaskGroup() as group:
                pumps = [
                    group.create_task(output.pump(stream))
                    for stream in (client.stdout, client.stderr)
                    if stream is not None
                ]
                if client.stdin is not None:
                    group.create_task(feed(client.stdin, order.stdin or b""))
                starting = group.create_task(self._await_start(work, output))
                await asyncio.wait(pumps)
                starting.cancel()
            await client.wait()
            return await self._end(work, output, memory=self._memory)
        except asyncio.CancelledError:
            is_given_up = not self._is_closing  # then containers go on
            if is_given_up:
                self._do(self._give_up(work, client))
            raise
        finally:
            self._clients.discard(client)
            output.close()
            if not is_given_up:
                await programs.end(client)

    async def _give_up(self, work: Work, client: Process) -> None:
        """Remove a container, but not amid its start: a podman that is killed then leaves processes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                while client.returncode is None and not work.is_started:
                    state = await self._state(work.order)
                    if not isinstance(state, containerargs.State) or state.has_started:
                        break
                    await asyncio.sleep(_LOOKS_S[0])
        await programs.end(client)
        await self._undo(work.order)

    async def _await_start(self, work: Work, output: Output) -> None:
        """Say that it has started, once the engine says so."""
        look = 0
        while not work.is_started:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOKS_S[min(look, len(_LOOKS_S) - 1)]):
                    await output.has_come.wait()
            output.has_come.clear()
            look += 1
            state = await self._state(work.order)
            if isinstance(state, containerargs.State) and state.has_started:
                work.started()
        output.release()

    async def _end(self, work: Work, output: Output, *, memory: int | None) -> Result:
        """Return how the container ended; raises StartFailed, ConnectionLost."""
        order = work.order
        state = await self._state(order)
        if isinstance(state, Unknown):
            raise ConnectionLost(state.why)
        if isinstance(state, Absent):
            raise ConnectionLost(f"its container is gone: {state.why}")
        if not state.has_started and state.status in ("created", "exited", "initialized", "configured"):
            self._do(self._undo(order))
            raise StartFailed(f"{self._engine}: {state.error or programs.in_words(bytes(output.early))}")
        work.started()
        output.release()
        if not state.is_over:
            raise ConnectionLost(f"{self._engine} let go of its container, which is {state.status}")
        self._over.add(order.handle)
        return containerargs.result_of(state, sent=self._sent.get(order.handle, ()), memory=memory)

    async def signal(self, work: Work, number: int) -> None:
        """Have the engine signal the container's first process, which passes it on; KILL ends all.

        It cannot pass on what would stop itself: then the engine stops all.
        """
        sent = self._sent.setdefault(work.order.handle, set())
        sent.add(number)
        what = _OF_ALL.get(number, ("kill", "--signal", str(number)))
        argv = [*containerargs.program(self._settings), *what]
        try:
            answer = await programs.ask(
                [*argv, containerargs.name_of(work.order)], self._environment, within_s=_ANSWER_S
            )
        except (TimeoutError, StartFailed) as error:
            raise ConnectionLost(str(error) or f"{self._engine} does not answer") from None
        if answer.code == 0:
            return
        if is_away(answer) if number in _OF_ALL else is_unreachable(answer):
            raise ConnectionLost(f"{self._engine}: {answer.words()}")
        if number == signal.SIGSTOP and not is_paused(answer):
            raise CannotStop(f"{self._engine}: {answer.words()}")

    async def probe(self, order: Order) -> Standing:
        """Look for the container by its label, and ask how it stands."""
        state = await self._state(order)
        if isinstance(state, Unknown | Absent):
            return state
        if state.is_over and order.handle in self._over:
            sent = self._sent.get(order.handle, set())
            return Ended(containerargs.result_of(state, sent=sent, memory=self._memory))
        if not state.has_started:
            return Absent("its container was never started")
        # What ended unseen counts as running: `attach` brings the output that nobody has read, and the end.
        return Running()

    async def _state(self, order: Order) -> containerargs.State | Unknown | Absent:
        name = containerargs.name_of(order)
        argv = [*containerargs.program(self._settings), "inspect", "--type", "container", name]
        try:
            answer = await programs.ask(argv, self._environment, within_s=_ANSWER_S)
        except TimeoutError:
            return Unknown(f"{self._engine} does not answer within {_ANSWER_S:g} s")
        except StartFailed as error:
            return Unknown(str(error))
        if answer.code != 0:
            if b"no such" in answer.err.lower():
                return Absent(f"{self._engine} has no container {name}")
            return Unknown(f"{self._engine}: {answer.words()}")
        state = containerargs.state_in(answer.out)
        if state is None:
            return Unknown(f"{self._engine} tells of {name} what makes no sense")
        if state.exit_code == _KILLED and (self._place(order) / _OOM).exists():
            return replace(state, is_out_of_memory=True)
        return state

    async def forget(self, order: Order) -> None:
        """Remove the container, with the volumes that nobody named."""
        self._sent.pop(order.handle, None)
        self._over.discard(order.handle)
        place = self._place(order)
        for remove in (self._count_path(order).unlink, (place / _OOM).unlink, place.rmdir):
            with suppress(OSError):
                remove()
        names = [*dict.fromkeys([*self._left, containerargs.name_of(order)])][-_MOST_LEFT:]
        # With those that could not be removed before.
        argv = [*containerargs.program(self._settings), "rm", "--force", "--volumes", *names]
        self._left = names
        try:
            answer = await programs.ask(argv, self._environment, within_s=_ANSWER_S)
        except (TimeoutError, StartFailed) as error:
            raise ConnectionLost(str(error) or f"{self._engine} does not answer") from None
        if answer.code != 0 and not is_removed(answer):
            raise ConnectionLost(f"{self._engine}: {answer.words()}")
        self._left = []

    async def check(self) -> tuple[Finding, ...]:
        """Ask the engine for its version, and whether the image is there."""
        argv = containerargs.program(self._settings)
        try:
            answer = await programs.ask(
                [*argv, "info", "--format", "{{json .}}"], self._environment, within_s=_ANSWER_S
            )
            if answer.code != 0:
                return (
                    Finding(
                        is_good=False,
                        words=f"{self._engine}: {answer.words()}",
                        advice="start its daemon, and see that this user may use it",
                    ),
                )
            image = str(self._settings["image"])
            there = await programs.ask(
                [*argv, "image", "inspect", image], self._environment, within_s=_ANSWER_S
            )
        except TimeoutError:
            return (Finding(is_good=False, words=f"{self._engine} does not answer within {_ANSWER_S:g} s"),)
        except StartFailed as error:
            return (Finding(is_good=False, words=str(error), advice=f"install {self._engine}"),)
        good = Finding(is_good=True, words=f"{self._engine} answers")
        if there.code == 0:
            return (good, Finding(is_good=True, words=f"image {printable(image)} is there"))
        is_pulled = self._settings.get("pull", "missing") != "never"
        words = f"image {printable(image)} is not there" + (
            ": the first attempt pulls it" if is_pulled else ""
        )
        advice = "" if is_pulled else f"{self._engine} pull {printable(image)}"
        return (good, Finding(is_good=is_pulled, words=words, advice=advice))

    async def close(self) -> None:
        """End our own programs; the containers go on."""
        self._is_closing = True
        for client in [*self._clients]:
            await programs.end(client)
        while self._chores:
            await asyncio.wait(self._chores)

    def _count_path(self, order: Order) -> Path:
        return self._directory / f"{order.handle}.written"

    def _place(self, order: Order) -> Path:
        """Return where a container is started: what podman has beside it notes there that memory ran out."""
        return self._directory / f"{order.handle}.place"


def _made_place(path: Path) -> Path:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StartFailed(f"{error.strerror}: {path}", is_transient=is_want(error)) from None
    return path


def _write_private(path: Path, text: str) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
