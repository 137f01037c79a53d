"""One attempt, as the process of its executor carries it out."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.executors.base import Order, Work
    from taskman_cli.supervisor.output import BoundedFile


class Lost(Exception):
    """Its end will not be known."""

    def __init__(self, words: str, *, is_over: bool = False) -> None:
        """`is_over`: it does not run any more, says the far side."""
        super().__init__(words)
        self.is_over = is_over


class Carried:
    """One attempt, as it is carried out."""

    def __init__(self, key: str, order: Order, file: BoundedFile | None) -> None:
        self.key = key
        self.order = order
        self.file = file
        self.work: Work | None = None
        self.task: asyncio.Task[None] | None = None
        #: It can be signalled.
        self.is_there = asyncio.Event()
        self.signals: deque[int] = deque()
        self.signaller: asyncio.Task[None] | None = None
        #: Nobody waits for its end.
        self.is_abandoned = False
        #: Why it was given up before it was begun.
        self.given_up = ""
        self.unheard_since_s = 0.0
        self.is_unheard = False
        self.progress: tuple[float | None, str] | None = None
        self.is_telling = False
