"""An attempt that an executor carries out, as its supervisor sees it: it has no process of its own here."""

from __future__ import annotations

from taskman_cli.supervisor.child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from taskman_cli.supervisor.wire import Message

#: What stands for the pid of such an attempt where one is told of.
NO_PID = 0


class Remote(Child):
    """One such attempt; its `pid` is NO_PID unless it could not be started."""

    __slots__ = ("host", "is_adopted", "is_sent", "max_output", "order", "path", "signals", "unheard_ns")

    def __init__(
        self, key: str, meta: Any, spec: Mapping[str, Any], *, wall_ns: int, elapsed_ns: int
    ) -> None:
        super().__init__(key, meta, wall_ns=wall_ns, elapsed_ns=elapsed_ns)
        self.pid = NO_PID
        #: The `Host` that it is with; None: it is forgotten, or was not begun.
        self.host: Any = None
        self.order: dict[str, Any] = spec["order"]
        self.path: str | None = spec["path"]
        self.max_output = int(spec["max_output"])
        #: A process of the executor was given it.
        self.is_sent = False
        #: It was begun for an earlier supervisor.
        self.is_adopted = False
        #: Those that were sent while there was no process to pass them on.
        self.signals: list[int] = []
        #: Since when its executor does not know how it stands, on the elapsed clock; None: it does.
        self.unheard_ns: int | None = None

    def ended(self, said: dict[str, Any], *, wall_ns: int, elapsed_ns: int) -> Message:
        """Note how it ended, as its executor says, and return the message."""
        code, number = said.get("exit_code"), said.get("signal")
        status = None
        if code is not None:
            status = (int(code) & 0xFF) << 8
        elif number is not None:
            status = int(number) & 0x7F
        self.end = {
            "status": status,
            "cpu_s": float(said.get("cpu_s", 0.0)),
            "peak_rss_bytes": int(said.get("peak_rss_bytes", 0)),
            "output_bytes": int(said.get("output_bytes", 0)),
            "cut_bytes": int(said.get("cut_bytes", 0)),
            "output_error": said.get("output_error"),
            "group_left": False,
            "wall_ns": wall_ns,
            "elapsed_ns": elapsed_ns,
        }
        for name in ("error", "lost"):
            if said.get(name):
                self.end[name] = str(said[name])
        if said.get("is_over"):
            self.end["is_over"] = True
        return "ended", self.key, self.end
