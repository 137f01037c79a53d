"""An executor for tests, which other tests install as an entry point: commands that outlive its process.

Its settings: `directory`, where all is kept. While a file "down" is there, nobody answers;
while "kept" is there, nothing can be forgotten; while "away" is there, nothing can be begun;
while "unbegun" is there, what is not known was never begun; while "numb" is there, only KILL gets through.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from process_table import is_alive

from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Ended,
    Executor,
    FarWorker,
    Result,
    Running,
    StartFailed,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Standing, Work

#: Runs a command, and leaves its exit code.
_KEEPER = 'sh -c "$1" >"$2.out" 2>&1; echo $? >"$2.part"; mv "$2.part" "$2.code"'
_PAUSE_S = 0.01


class StandIn(Executor):
    """Runs commands in sessions of their own; whoever knows the handle finds them again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _place(self, order: Order, ending: str) -> Path:
        return self._directory / f"{order.handle}.{ending}"

    def _is_down(self) -> bool:
        return (self._directory / "down").exists()

    def _is_away(self) -> bool:
        return (self._directory / "away").exists()

    def _watch(self) -> None:
        """Tell when the far side is there again, with a worker."""
        loop = asyncio.get_running_loop()
        if self._is_away():
            loop.call_later(_PAUSE_S, self._watch)
        else:
            self.tell("up", workers=[FarWorker("w1", 1, 4, 8_000_000_000, (("gpu", 2.0),))])

    async def run(self, work: Work) -> Result:
        command = work.order.command
        assert isinstance(command, str)
        if self._is_away():
            self.tell("down", "nobody is there")
            self._watch()
            raise StartFailed("nobody is there", is_transient=True)
        match command.split():
            case ["refuse", *words]:
                raise StartFailed(" ".join(words))
            case ["lack", *words]:
                raise StartFailed(" ".join(words), is_transient=True)
            case ["raise", *words]:
                work.started()
                raise RuntimeError(" ".join(words))
            case ["raise-unstarted", *words]:
                raise RuntimeError(" ".join(words))
            case ["want"]:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            case ["leave"]:
                work.started()
                sys.exit(3)
            case ["block"]:
                work.started()
                signal.pause()
            case ["unstarted"]:
                await asyncio.Event().wait()
            case ["deaf"]:
                command = "exec sleep 1000"
        base = str(self._place(work.order, "x")).removesuffix(".x")
        process = subprocess.Popen(
            ["sh", "-c", _KEEPER, "sh", command, base],
            env=dict(work.order.local_env), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._place(work.order, "pid").write_text(str(process.pid))
        with (self._directory / "started").open("a") as log:
            log.write(f"{work.order.handle}\n")
        work.started()
        return await self._follow(work, process)

    async def _follow(self, work: Work, process: subprocess.Popen[bytes] | None = None) -> Result:
        seen = self._place(work.order, "seen")
        while True:
            if self._is_down():
                raise ConnectionLost("the line is down")
            is_over = self._place(work.order, "code").exists() or not self._is_alive(work.order, process)
            with suppress(FileNotFoundError), self._place(work.order, "out").open("rb") as file:
                file.seek(int(seen.read_text()) if seen.exists() else 0)
                work.write(file.read())
                seen.write_text(str(file.tell()))
            if command := work.order.env.get("PROGRESS"):
                work.progress(0.5, command)
            if is_over:
                return self._result(work.order) or Result(signal=signal.SIGKILL)
            await asyncio.sleep(_PAUSE_S)

    def _is_alive(self, order: Order, process: subprocess.Popen[bytes] | None = None) -> bool:
        if process is not None:
            return process.poll() is None
        try:
            pid = int(self._place(order, "pid").read_text())
        except (FileNotFoundError, ValueError):
            return False
        return is_alive(pid)

    def _result(self, order: Order) -> Result | None:
        try:
            code = int(self._place(order, "code").read_text())
        except FileNotFoundError:
            return None
        return Result(signal=code - 128) if code > 128 else Result(exit_code=code)

    async def signal(self, work: Work, number: int) -> None:
        if self._is_down():
            raise ConnectionLost("the line is down")
        if work.order.command == "deaf":
            raise RuntimeError("nobody hears this")
        if number != signal.SIGKILL and (self._directory / "numb").exists():
            raise ConnectionLost("only KILL gets through")
        with suppress(ProcessLookupError):
            os.killpg(int(self._place(work.order, "pid").read_text()), number)

    async def probe(self, order: Order) -> Standing:
        if self._is_down():
            return Unknown("the line is down")
        if (self._directory / "odd").exists():
            raise RuntimeError("what a question")
        if (result := self._result(order)) is not None:
            return Ended(result)
        if self._is_alive(order):
            return Running()
        return Absent("no trace of it", is_unbegun=(self._directory / "unbegun").exists())

    async def attach(self, work: Work) -> Result:
        work.started()
        return await self._follow(work)

    async def forget(self, order: Order) -> None:
        if (self._directory / "kept").exists():
            raise RuntimeError("nothing can be removed")
        with (self._directory / "forgotten").open("a") as log:
            log.write(f"{order.handle}\n")


def make(definition: ExecutorDefinition) -> StandIn:
    """Make one of its definition."""
    if "broken" in definition.settings:
        raise RuntimeError("not in the mood")
    directory = Path(str(definition.settings["directory"]))
    directory.mkdir(exist_ok=True)
    made = StandIn(directory)
    made.loses_output = "lossy" in definition.settings
    return made


def installed(place: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Install it in a directory as an entry point; return the environment in which it is found."""
    about = place / "stand_in_executor-1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-in-executor\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[taskman.executors]\nstand-in = stand_in_executor:make\nline-up = line_up_executor:make\n"
    )
    paths = [str(place), str(Path(__file__).parent)]
    return {**environ, "PYTHONPATH": ":".join(paths)}
