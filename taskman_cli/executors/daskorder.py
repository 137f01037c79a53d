"""Orders as a keeper takes them, and results as it gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable, quoted
from taskman_cli.executors.base import ConnectionLost, Result, StartFailed

if TYPE_CHECKING:
    import asyncio

    from taskman_cli.executors.base import Order

_SHELL = "/bin/sh"


def spec_of(order: Order) -> dict[str, Any]:
    """Return what a keeper starts. Raises StartFailed."""
    if order.command is None:
        raise StartFailed("there is no command that a worker could run")
    command = order.command
    argv: list[str] = [_SHELL, "-c", command] if isinstance(command, str) else [*command]
    for name in order.env:
        if not name or "=" in name:
            raise StartFailed(f"there cannot be a variable {quoted(name)}: give it another name")
    return {
        "argv": [_bytes(word) for word in argv],
        "env": [(_bytes(name), _bytes(value)) for name, value in order.env.items()],
        "cwd": None if order.cwd is None else _bytes(order.cwd),
        "stdin": order.stdin,
        "umask": order.umask,
        "nice": int(order.nice),
    }


def _bytes(text: str) -> bytes:
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise StartFailed("its settings have characters that are no text") from None
    if b"\0" in data:
        raise StartFailed("NUL characters cannot be passed to a command")
    return data


def result_of(end: dict[str, Any]) -> Result:
    try:
        code, number = end.get("exit_code"), end.get("signal")
        return Result(
            exit_code=None if code is None else int(code),
            signal=None if number is None else int(number),
            cpu_s=float(end.get("cpu_s", 0.0)),
            peak_rss_bytes=int(end.get("peak_rss_bytes", 0)),
        )
    except (TypeError, ValueError) as error:
        return Result(error=f"its end makes no sense: {error}")


async def ended(end: asyncio.Future[dict[str, Any]]) -> Result:
    """Wait for the end of a command. Raises ConnectionLost."""
    told = await end
    if told.get("orphaned"):
        raise ConnectionLost(printable(str(told["orphaned"])))
    return result_of(told)
