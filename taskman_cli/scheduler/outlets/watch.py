"""The descriptors of the sinks' process in the loop's epoll, which change when the process does."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.scheduler.outlets.link import Link


class Watch:
    """Keeps an epoll object up to date."""

    def __init__(self, poll: select.epoll, link: Link) -> None:
        self._poll = poll
        self._link = link
        self._generation = link.generation
        self._masks: dict[int, int] = {}

    def renew(self) -> None:
        """Watch the descriptors that there are now."""
        link = self._link
        if link.generation != self._generation:
            self._generation = link.generation
            for fd in self._masks:
                with suppress(OSError, ValueError):  # it is closed, and perhaps another file's by now
                    self._poll.unregister(fd)
            self._masks.clear()
        for fd, wants_write in link.filenos().items():
            mask = select.EPOLLIN | (select.EPOLLOUT if wants_write else 0)
            known = self._masks.get(fd)
            if known is None:
                self._poll.register(fd, mask)
            elif known != mask:
                self._poll.modify(fd, mask)
            self._masks[fd] = mask
