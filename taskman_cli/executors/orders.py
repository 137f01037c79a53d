"""Orders and results as they travel, and what only the process of an executor can add to an order."""

from __future__ import annotations

import asyncio
import marshal
import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import Order, StartFailed
from taskman_cli.supervisor.envfile import EnvFile, EnvFileError
from taskman_cli.supervisor.spawn import TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.executors.base import Result

_LONGEST_WORDS = 500
#: How long files of variables may take.
_READ_S = 30.0


def unpacked(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an order with those that are the same in many (`launch/spec.py`)."""
    if "packed" not in values:
        return values
    same, told = _unpack(values["packed"]), values["told"]
    return {**same, **values, "env": same["env"] | told, "local_env": Layers(same["local_env"], told)}


class Layers(dict[str, str]):
    """An environment, made of one that many orders share, which nobody changes, and what one order adds."""

    __slots__ = ("added", "shared")

    def __init__(self, shared: dict[str, str], added: dict[str, str]) -> None:
        super().__init__(shared)
        self.update(added)
        self.shared, self.added = shared, added

    def since(self, before: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        """Return what differs in it from an earlier environment, and which names are not in it any more."""
        if isinstance(before, Layers) and before.shared is self.shared:
            names = self.added.keys() | before.added.keys()
            differs = {name: self[name] for name in names if name in self and before.get(name) != self[name]}
            return differs, [name for name in before.added if name not in self]
        return since(self, before)


def since(env: Mapping[str, str], before: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Do the same as `Layers.since` for any environment."""
    differs = {name: text for name, text in env.items() if before.get(name) != text}
    return differs, [name for name in before if name not in env]


@lru_cache(maxsize=64)
def _unpack(packed: bytes) -> dict[str, Any]:
    return marshal.loads(packed)  # type: ignore[no-any-return] # noqa: S302 - like all that `wire` carries


def order_of(values: dict[str, Any]) -> Order:
    """Return an order of the values that travel; unknown ones are of another version."""
    known = {name: value for name, value in values.items() if name in Order.__slots__}
    return Order(**known)


def _changed(order: Order, **values: Any) -> Order:
    return Order(**{name: getattr(order, name) for name in Order.__slots__} | values)


def _read_env(files: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in files:
        with EnvFile(path) as file:
            if os.geteuid() == 0:
                file.check_owner()
            found |= file.values()
    return found


def result_values(result: Result) -> dict[str, Any]:
    """Return a result as it is told; an exit code that no process could have is said in words."""
    code, words = result.exit_code, short(result.error)
    if code is not None and not 0 <= int(code) <= 255:
        code, words = 255, words or f"exit code {code}"
    if code is None and result.signal is None and not words:
        words = "ended, and its executor does not say how"
    return {
        "exit_code": None if code is None else int(code),
        "signal": None if result.signal is None else int(result.signal),
        "error": words,
        "cpu_s": float(result.cpu_s),
        "peak_rss_bytes": int(result.peak_rss_bytes),
    }


def is_want(error: BaseException | None) -> bool:
    """Tell if an error is a want of files, processes or memory: nobody's fault, and soon over."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in TRANSIENT)


def short(error: object) -> str:
    """Return words for people in one short line."""
    return printable(str(error))[:_LONGEST_WORDS]


async def complete(order: Order, values: Mapping[str, Any]) -> Order:
    """Add the variables of files and the deadline to an order. Raises StartFailed."""
    files = values.get("env_files", ())
    if files:
        try:
            found = await asyncio.wait_for(asyncio.to_thread(_read_env, files), _READ_S)
        except EnvFileError as error:
            raise StartFailed(str(error)) from error
        except TimeoutError:
            raise StartFailed(f"cannot read env_file {files[0]}: no answer") from None
        local = {**order.local_env, **found, **order.env}
        order = _changed(order, env=found | dict(order.env), local_env=local)
    timeout_ns = values.get("timeout_ns")
    if timeout_ns is not None:
        order = _changed(order, deadline_ns=time.time_ns() + timeout_ns)
    return order
