"""Requests that the engine was given, and the clients that wait for its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core import protocol
from taskman_cli.errors import EXIT_FAILED
from taskman_cli.scheduler.requests.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.control.peers import Client
    from taskman_cli.core.engine import effects
    from taskman_cli.core.protocol import Request
    from taskman_cli.scheduler.driver import EngineDriver


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request under way, and the clients to answer."""

    clients: Sequence[Client]
    request: Request
    #: What the answer says besides what the engine knows.
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def has_end(self) -> bool:
        """Tell whether the clients wait for the end of a run, too."""
        return bool(getattr(self.request, "wait", False))


class PendingRequests:
    """Knows by its token which clients an answer of the engine is for."""

    def __init__(self, driver: EngineDriver) -> None:
        self._driver = driver
        self._last_token = 0
        self._pending: dict[int, _Pending] = {}
        #: Clients that wait for the end of runs.
        self.waiters = Waiters()

    def add(self, clients: Sequence[Client], request: Request, **more: Any) -> int:
        """Return the token for a request's answer, to which `more` is added."""
        self._last_token += 1
        self._pending[self._last_token] = pending = _Pending(clients, request, more)
        if pending.has_end:
            self.waiters.expect(True)
        return self._last_token

    def answer(self, answer: effects.Answer) -> None:
        """Answer the clients: what they asked for is durable, or done though it cannot be recorded."""
        pending = self._pending[answer.token]
        reply = dict(answer.reply)
        why = self._driver.trouble
        if why and reply["ok"] and isinstance(pending.request, protocol.Cancel):
            reply = {"ok": False, "error": f"it is done, but not recorded ({why})", "code": EXIT_FAILED}
        if reply["ok"]:
            reply |= pending.more
            if isinstance(pending.request, protocol.RunOnce):
                reply["run"] = next(iter(self._driver.engine.unfinished(reply["job"])), None)
            if isinstance(pending.request, protocol.RunOnce | protocol.TriggerJob):
                reply["state"] = self._driver.engine.state_of(reply["run"]) if reply["run"] else "waiting"
        for client in pending.clients:
            client.reply(reply)
            if reply["ok"] and pending.has_end:
                self._await_end(reply, client)
        del self._pending[answer.token]  # only now: where this raised, they are told so instead
        self.waiters.expect(any(other.has_end for other in self._pending.values()))

    def _await_end(self, reply: Mapping[str, Any], client: Client) -> None:
        """Have a client told of the end of the runs that it was answered with."""
        if "runs" in reply:
            self.waiters.add(client, [item["run"] for item in reply["runs"]])
        elif reply["run"] is None:
            self.waiters.add(client, (), once=reply["job"], is_single=True)
        else:
            self.waiters.add(client, [reply["run"]], is_single=True)
