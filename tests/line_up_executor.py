"""An executor for tests, installed like `stand_in_executor`: what has no seat waits behind what has one.

Each order runs until there is a file with its handle and ".end" in the directory that the settings name. File
"began" there has the handles in the order in which they began; while "alone" is there, nothing waits behind
others. Signal 0 leaves a mark in file "asked".
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.executors.base import Executor, NoSeat, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Work

    Over = Callable[[Result | BaseException], None]

_PAUSE_S = 0.005


class LineUp(Executor):
    """Has lines of orders; the first of each runs."""

    hears_early = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lines: list[list[tuple[Work, Over]]] = []
        self._look()

    def begin(self, work: Work, over: Over) -> bool:
        self._lines.append([(work, over)])
        self._note(work)
        return True

    def begin_behind(self, work: Work, over: Over) -> bool:
        if not self._lines or (self._directory / "alone").exists():
            return False
        self._lines[-1].append((work, over))
        return True

    def take_back(self, works: Collection[Work]) -> list[Work]:
        taken = []
        for line in self._lines:
            for entry in line[1:]:
                if entry[0] in works and not entry[0].has_seat:
                    line.remove(entry)
                    taken.append(entry[0])
        return taken

    async def run(self, work: Work) -> Result:
        ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.begin(work, lambda outcome: ended.set_result(outcome))  # type: ignore[arg-type]
        return await ended

    async def signal(self, work: Work, number: int) -> None:
        if not number:  # somebody wants to know that this came
            with (self._directory / "asked").open("a") as file:
                file.write("?")
        for line in self._lines if number else ():
            if line[0][0] is work:
                self._end(line, Result(signal=number))

    def _note(self, work: Work) -> None:
        with (self._directory / "began").open("a") as file:
            file.write(f"{work.order.handle}\n")
        work.started()

    def _look(self) -> None:
        for line in [*self._lines]:
            if (self._directory / f"{line[0][0].order.handle}.end").exists():
                self._end(line, Result(exit_code=0))
            elif (self._directory / "part").exists():  # the line is broken up
                others, line[1:] = line[1:], []
                for work, over in others:
                    if work.has_seat:
                        self.begin(work, over)
                    else:
                        over(NoSeat())
        asyncio.get_running_loop().call_later(_PAUSE_S, self._look)

    def _end(self, line: list[tuple[Work, Over]], result: Result) -> None:
        work, over = line.pop(0)
        if not line:
            self._lines.remove(line)
        elif not line[0][0].has_seat:
            work.heir = line[0][0]
        over(result)
        if line:
            self._note(line[0][0])


def make(definition: ExecutorDefinition) -> LineUp:
    """Make one of its definition."""
    return LineUp(Path(str(definition.settings["directory"])))
